/**
 * X.509 certificates for tests, made on the spot so that none expires in the repository: an authority, and certificates for a server at
 * 127.0.0.1 or for a client. DER by hand (RFC 5280, X.690), P-256 with SHA-256.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export interface Certified {
  readonly certificate: string;
  readonly key: string;
}

export interface Authority {
  /** PEM. */
  readonly ca: string;
  /** For TLS servers at 127.0.0.1, or by a DNS name. */
  server(name?: string): Certified;
  client(commonName: string): Certified;
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const length =
    content.length < 0x80
      ? Buffer.from([content.length])
      : content.length < 0x100
        ? Buffer.from([0x81, content.length])
        : Buffer.from([0x82, content.length >> 8, content.length & 0xff]);
  return Buffer.concat([Buffer.from([tag]), length, content]);
}

const sequence = (...parts: readonly Buffer[]) => der(0x30, ...parts);
const octets = (content: Buffer) => der(0x04, content);
const bits = (content: Buffer) => der(0x03, Buffer.from([0]), content);
const truth = () => der(0x01, Buffer.from([0xff]));
const time = (date: Date) =>
  der(0x17, Buffer.from(`${date.toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));
const oids = {
  commonName: '550403',
  ecdsaSha256: '2a8648ce3d040302',
  basicConstraints: '551d13',
  alternativeNames: '551d11',
  keyUsage: '551d25',
  serverAuth: '2b06010505070301',
  clientAuth: '2b06010505070302',
} as const;
const oid = (name: keyof typeof oids) => der(0x06, Buffer.from(oids[name], 'hex'));
const nameOf = (text: string) =>
  sequence(der(0x31, sequence(oid('commonName'), der(0x0c, Buffer.from(text)))));
const extension = (name: keyof typeof oids, value: Buffer, critical = false) =>
  sequence(oid(name), ...(critical ? [truth()] : []), octets(value));

let serial = 1;

interface Wanted {
  readonly subject: string;
  readonly issuer: string;
  readonly issuerKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Buffer[];
}

function certificate({ subject, issuer, issuerKey, publicKey, extensions }: Wanted): string {
  const algorithm = sequence(oid('ecdsaSha256'));
  const day = 86_400_000;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([++serial])),
    algorithm,
    nameOf(issuer),
    sequence(time(new Date(Date.now() - day)), time(new Date(Date.now() + day))),
    nameOf(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const bytes = sequence(body, algorithm, bits(sign('sha256', body, issuerKey)));
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

export function authority(name = 'test authority'): Authority {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issue = (subject: string, extensions: readonly Buffer[]): Certified => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return {
      certificate: certificate({ subject, issuer: name, issuerKey: own.privateKey, publicKey, extensions }),
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    };
  };
  return {
    ca: certificate({
      subject: name,
      issuer: name,
      issuerKey: own.privateKey,
      publicKey: own.publicKey,
      extensions: [extension('basicConstraints', sequence(truth()), true)],
    }),
    server: (name) =>
      issue('server', [
        extension(
          'alternativeNames',
          sequence(
            name === undefined ? der(0x87, Buffer.from([127, 0, 0, 1])) : der(0x82, Buffer.from(name)),
          ),
        ),
        extension('keyUsage', sequence(oid('serverAuth'))),
      ]),
    client: (commonName) => issue(commonName, [extension('keyUsage', sequence(oid('clientAuth')))]),
  };
}
