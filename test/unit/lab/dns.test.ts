import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Answer, decode, encode, type RecordType } from 'dns-packet';
import { Cluster } from '../../../src/lab/cluster.js';
import { DnsTable, resolvConf, reverseName } from '../../../src/lab/dns.js';
import { parseManifests } from '../../../src/manifests/parse.js';
import { address } from '../../../src/net/address.js';

const manifests = `
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, ports: [{name: pg, containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: pg, port: 5432, targetPort: pg}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: shop}
spec: {type: ExternalName, externalName: example.com}
`;

function table(): DnsTable {
  const cluster = new Cluster();
  cluster.apply(parseManifests(manifests, 'test.yaml').objects);
  return new DnsTable(cluster.objects, 'cluster.local');
}

const rcodes = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

/** The answer as it would come over the wire. */
function ask(name: string, type: RecordType): { rcode: string; data: string[]; additional: string[] } {
  const query = decode(encode({ type: 'query', id: 7, flags: 0x0100, questions: [{ name, type }] }));
  const answer = decode(encode(table().answer(query)));
  assert.equal(answer.id, 7);
  const shown = (record: Answer) => {
    const { data } = record as { data: unknown };
    return record.type === 'SRV' ? `${record.data.port} ${record.data.target}` : String(data);
  };
  return {
    rcode: rcodes[(answer.flags ?? 0) & 15]!,
    data: (answer.answers ?? []).map(shown),
    additional: (answer.additionals ?? []).map(shown),
  };
}

describe('the names of a cluster', () => {
  // coredns 10.42.0.2, then by name: shop/db-0 .3, shop/db-1 .4, shop/web .5
  for (const [name, type, expected] of [
    ['web.shop.svc.cluster.local', 'A', ['10.43.0.16']],
    ['web.shop.svc.cluster.local', 'AAAA', ['fd43::10']],
    ['WEB.Shop.svc.cluster.LOCAL', 'A', ['10.43.0.16']],
    ['kube-dns.kube-system.svc.cluster.local', 'A', ['10.43.0.10']],
    ['db.shop.svc.cluster.local', 'A', ['10.42.0.3', '10.42.0.4']],
    ['db-0.db.shop.svc.cluster.local', 'A', ['10.42.0.3']],
    ['db-1.db.shop.svc.cluster.local', 'AAAA', ['fd42::4']],
    ['10-42-0-5.api.shop.svc.cluster.local', 'A', ['10.42.0.5']],
    ['10-42-0-5.shop.pod.cluster.local', 'A', ['10.42.0.5']],
    ['fd42--5.shop.pod.cluster.local', 'AAAA', ['fd42::5']],
    ['_http._tcp.web.shop.svc.cluster.local', 'SRV', ['80 web.shop.svc.cluster.local']],
    [
      '_pg._tcp.db.shop.svc.cluster.local',
      'SRV',
      ['5432 db-0.db.shop.svc.cluster.local', '5432 db-1.db.shop.svc.cluster.local'],
    ],
    [
      '_http._tcp.api.shop.svc.cluster.local',
      'SRV',
      ['8080 10-42-0-5.api.shop.svc.cluster.local', '8080 fd42--5.api.shop.svc.cluster.local'],
    ],
    ['16.0.43.10.in-addr.arpa', 'PTR', ['web.shop.svc.cluster.local']],
    ['3.0.42.10.in-addr.arpa', 'PTR', ['db-0.db.shop.svc.cluster.local']],
    ['outside.shop.svc.cluster.local', 'A', ['example.com']],
    ['dns-version.cluster.local', 'TXT', ['1.1.0']],
  ] as const) {
    it(`${type} ${name} is ${expected.join(' and ')}`, () => {
      const { rcode, data } = ask(name, type);
      assert.deepEqual([rcode, ...data], ['NOERROR', ...expected]);
    });
  }

  for (const [name, type, rcode] of [
    ['nobody.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
    ['db-2.db.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
    ['web.nowhere.svc.cluster.local', 'A', 'NXDOMAIN'],
    ['10-42-0-5.nowhere.pod.cluster.local', 'A', 'NXDOMAIN'],
    ['web.shop.svc.cluster.local', 'SRV', 'NOERROR'],
    ['_tcp.web.shop.svc.cluster.local', 'A', 'NOERROR'],
    ['shop.svc.cluster.local', 'A', 'NOERROR'],
    ['example.com', 'A', 'REFUSED'],
    ['notcluster.local', 'A', 'REFUSED'],
    ['1.1.1.1.in-addr.arpa', 'PTR', 'REFUSED'],
  ] as const) {
    it(`${type} ${name} is an empty ${rcode}`, () => {
      assert.deepEqual(ask(name, type), { rcode, data: [], additional: [] });
    });
  }

  it('an SRV answer brings the addresses of its targets along', () => {
    assert.deepEqual(ask('_pg._tcp.db.shop.svc.cluster.local', 'SRV').additional, [
      '10.42.0.3',
      'fd42::3',
      '10.42.0.4',
      'fd42::4',
    ]);
  });

  it('a query without a question is a format error', () => {
    const answer = table().answer(decode(encode({ type: 'query', id: 1, questions: [] })));
    assert.equal((answer.flags ?? 0) & 15, 1);
  });

  it('reverse names have nibbles for IPv6', () => {
    assert.equal(
      reverseName(address('fd42::5')),
      '5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.4.d.f.ip6.arpa',
    );
  });

  it('resolv.conf searches as kubelet writes it', () => {
    assert.equal(
      resolvConf('shop', address('10.43.0.10'), 'cluster.local'),
      'nameserver 10.43.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n',
    );
  });
});
