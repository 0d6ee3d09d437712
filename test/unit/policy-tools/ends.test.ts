/** The one grammar for ends. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatEnd, isMisread, parseEnd, parseSource, parseTarget } from '../../../src/cli/ends.js';

describe('an end', () => {
  const ends: [text: string, kind: string, formatted: string][] = [
    ['web/frontend', 'pod', 'web/frontend'],
    ['frontend', 'pod', 'default/frontend'],
    ['web/frontend-7x2bq', 'pod', 'web/frontend-7x2bq'],
    ['svc/web/api', 'service', 'svc/web/api'],
    ['svc:web/api', 'service', 'svc/web/api'],
    ['svc:api', 'service', 'svc/default/api'],
    ['node:n1', 'node', 'node/n1'],
    ['node/n1.example.org', 'node', 'node/n1.example.org'],
    ['10.0.0.1', 'address', '10.0.0.1'],
    ['FD00::0:1', 'address', 'fd00::1'],
    ['[fd00::1]', 'address', 'fd00::1'],
    ['::ffff:10.0.0.1', 'address', '10.0.0.1'],
    ['web/api.v2', 'pod', 'web/api.v2'],
  ];
  for (const [text, kind, formatted] of ends) {
    test(`${text} is the ${kind} ${formatted}`, () => {
      const end = parseEnd(text);
      assert.ok(!isMisread(end));
      assert.deepEqual([end.kind, formatEnd(end)], [kind, formatted]);
    });
  }

  const spoken: typeof ends = [
    ['pod/frontend', 'pod', 'default/frontend'],
    ['pods/web/frontend', 'pod', 'web/frontend'],
    ['deploy/web/frontend', 'pod', 'web/frontend'],
    ['service/api', 'service', 'svc/default/api'],
    ['service/web/api', 'service', 'svc/web/api'],
    ['api.web.svc', 'service', 'svc/web/api'],
    ['api.web.svc.cluster.local', 'service', 'svc/web/api'],
  ];
  for (const [text, kind, formatted] of spoken) {
    test(`${text} at the command line is the ${kind} ${formatted}`, () => {
      for (const end of [parseSource(text), parseTarget(text)]) {
        assert.ok(!isMisread(end));
        const meant = 'end' in end ? end.end : end;
        assert.deepEqual([meant.kind, formatEnd(meant)], [kind, formatted]);
      }
    });
  }

  for (const text of ['deploy/web', 'service/web', 'pod/web', 'ds/web']) {
    test(`${text} in a file or a batch is the pod web of a namespace called so`, () => {
      const end = parseEnd(text);
      assert.ok(!isMisread(end));
      assert.deepEqual([end.kind, formatEnd(end)], ['pod', text]);
    });
  }

  for (const text of ['', 'a/b/c', 'svc:', '10.0.0', '10.0.0.256', 'a b', 'fd00::zz', '[10.0.0.1']) {
    test(`"${text}" is none, and the answer says what would be one`, () => {
      const end = parseEnd(text);
      assert.ok(isMisread(end));
      assert.match(end.error, /NAMESPACE\/POD/);
    });
  }
});

describe('a target', () => {
  const targets: [
    text: string,
    end: string,
    port: number | string | undefined,
    protocol: string | undefined,
  ][] = [
    ['db/mysql:3306/TCP', 'db/mysql', 3306, 'TCP'],
    ['db/mysql:3306', 'db/mysql', 3306, undefined],
    ['db/mysql:mysql/tcp', 'db/mysql', 'mysql', 'TCP'],
    ['db/mysql', 'db/mysql', undefined, undefined],
    ['db/mysql/icmp', 'db/mysql', undefined, 'ICMP'],
    ['svc/db/mysql:3306/UDP', 'svc/db/mysql', 3306, 'UDP'],
    ['svc:db/mysql:3306', 'svc/db/mysql', 3306, undefined],
    ['node:n1:22', 'node/n1', 22, undefined],
    ['10.0.0.1:53/udp', '10.0.0.1', 53, 'UDP'],
    ['[fd00::1]:53/UDP', 'fd00::1', 53, 'UDP'],
    ['fd00::1', 'fd00::1', undefined, undefined],
    ['10.0.0.1/ICMP', '10.0.0.1', undefined, 'ICMP'],
    ['web/tcp', 'web/tcp', undefined, undefined],
    ['service/db/mysql:3306', 'svc/db/mysql', 3306, undefined],
    ['mysql.db.svc.cluster.local:mysql/TCP', 'svc/db/mysql', 'mysql', 'TCP'],
    ['pod/mysql:3306', 'default/mysql', 3306, undefined],
  ];
  for (const [text, end, port, protocol] of targets) {
    test(`${text} is read`, () => {
      const target = parseTarget(text);
      assert.ok(!isMisread(target), JSON.stringify(target));
      assert.deepEqual([formatEnd(target.end), target.port, target.protocol], [end, port, protocol]);
    });
  }

  for (const text of ['db/mysql:0', 'db/mysql:70000', 'db/mysql:80/QUIC', 'db/mysql:a_b', 'a/b/c:80']) {
    test(`"${text}" is refused with a sentence`, () => {
      const target = parseTarget(text);
      assert.ok(isMisread(target), JSON.stringify(target));
      assert.match(target.error, /Write /);
    });
  }
});

describe('a source', () => {
  for (const [text, end] of [
    ['web/frontend', 'web/frontend'],
    ['web/frontend:41234', 'web/frontend'],
    ['10.0.0.1:41234', '10.0.0.1'],
    ['[fd00::1]:41234', 'fd00::1'],
    ['fd00::1', 'fd00::1'],
    ['web/icmp', 'web/icmp'],
    ['svc/web/api', 'svc/web/api'],
  ] as const) {
    test(`${text} is ${end}, whatever its port`, () => {
      const source = parseSource(text);
      assert.ok(!isMisread(source), JSON.stringify(source));
      assert.equal(formatEnd(source), end);
    });
  }
  test('what names no end is refused with a sentence', () => {
    const source = parseSource('a/b/c:80');
    assert.ok(isMisread(source));
    assert.match(source.error, /NAMESPACE\/POD/);
  });
});
