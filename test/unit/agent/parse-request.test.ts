/** A client's line is held to the form of its request before anything is done with it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRequest } from '../../../src/agent/parse-request.js';
import type { WeftError } from '../../../src/errors/problem.js';

const web = { kind: 'pod', namespace: 'default', name: 'web' };

test('what clients send is a request, with or without what is optional', () => {
  for (const message of [
    { type: 'status', id: 1 },
    { type: 'sync', id: 1, timeoutMilliseconds: 2.5 },
    { type: 'flows', id: 1, follow: true },
    { type: 'connections', id: 1, namespace: 'default', name: 'web', limit: 5 },
    { type: 'why', id: 1, from: web, to: { kind: 'address', address: '192.0.2.1' }, port: 'http', family: 6 },
    { type: 'capture', id: 1, namespace: 'default', name: 'web', drops: false, count: 3 },
    { type: 'trial', id: 1, manifests: [{ file: 'a.yaml', text: '' }], remove: [], seconds: 1 },
  ])
    assert.equal(parseRequest(message), message);
});

test('what has another form is refused with the field and what it has to be', () => {
  for (const [message, words] of [
    [{ type: 'nonsense' }, /does not know the request "nonsense"/],
    [{ type: 'toString' }, /does not know the request "toString"/],
    [{}, /does not know the request undefined/],
    [{ type: 'sync', timeoutMilliseconds: '5' }, /sync .* timeoutMilliseconds has to be a number/],
    [{ type: 'attach', timeoutMilliseconds: -1 }, /attach .* timeoutMilliseconds has to be a number/],
    [{ type: 'connections', limit: 1.5 }, /limit has to be a whole number/],
    [{ type: 'flows', follow: 'yes' }, /follow has to be true or false/],
    [{ type: 'detach', name: 5 }, /name has to be text/],
    [{ type: 'why', from: web }, /to has to be a pod, a Service, a node or an address/],
    [{ type: 'why', from: { kind: 'pod', name: 'web' }, to: web }, /from has to be a pod/],
    [{ type: 'why', from: web, to: web, port: -1 }, /port has to be a number or a name/],
    [{ type: 'why', from: web, to: web, family: 5 }, /family has to be 4 or 6/],
    [{ type: 'capture', namespace: 'default' }, /name has to be text/],
    [{ type: 'trial', manifests: [{ file: 'a' }], remove: [], seconds: 1 }, /objects with file and text/],
    [{ type: 'trial', manifests: [], remove: [1], seconds: 1 }, /remove has to be a list of texts/],
  ] as const)
    assert.throws(
      () => parseRequest(message),
      (error: WeftError) => error.code === 'request-invalid' && words.test(error.message),
      JSON.stringify(message),
    );
});
