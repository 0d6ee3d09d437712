/**
 * A tar archive in memory, POSIX ustar (IEEE Std 1003.1, pax, "ustar Interchange Format"): regular files, which is all that a dump needs.
 * Not the system's tar: a container's image need not have one.
 */
export interface TarFile {
  /** Relative, with `/`; at most 255 bytes, of which ustar wants a `/` to split at after 100. */
  readonly name: string;
  readonly content: Uint8Array;
  /** Seconds since 1970. */
  readonly modified: number;
}

const block = 512;

/** Throws a RangeError for a name that ustar cannot hold. */
export function tar(files: readonly TarFile[]): Buffer {
  const parts: Buffer[] = [];
  for (const file of files) {
    parts.push(header(file), Buffer.from(file.content));
    parts.push(Buffer.alloc((block - (file.content.byteLength % block)) % block));
  }
  // Two blocks of zeros end an archive.
  return Buffer.concat([...parts, Buffer.alloc(2 * block)]);
}

/** Archives of `tar` as one, in their order. */
export function joinTars(archives: readonly Buffer[]): Buffer {
  const ended = archives.map((archive) => archive.subarray(0, archive.length - 2 * block));
  return Buffer.concat([...ended, Buffer.alloc(2 * block)]);
}

function header({ name, content, modified }: TarFile): Buffer {
  const bytes = Buffer.alloc(block);
  const [prefix, last] = split(name);
  bytes.write(last, 0, 100);
  octal(bytes, 0o600, 100, 8);
  octal(bytes, 0, 108, 8); // uid
  octal(bytes, 0, 116, 8); // gid
  octal(bytes, content.byteLength, 124, 12);
  octal(bytes, Math.floor(modified), 136, 12);
  bytes.fill(' ', 148, 156); // the checksum counts itself as spaces
  bytes.write('0', 156); // a regular file
  bytes.write('ustar\0', 257);
  bytes.write('00', 263);
  bytes.write('root', 265);
  bytes.write('root', 297);
  bytes.write(prefix, 345, 155);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return bytes;
}

function octal(bytes: Buffer, value: number, at: number, length: number): void {
  const text = value.toString(8);
  if (text.length > length - 1) throw new RangeError(`${value} does not fit a tar header`);
  bytes.write(`${text.padStart(length - 1, '0')}\0`, at);
}

/** A long name in its two fields: what stands before some `/` (155 bytes), and the rest (100). */
function split(name: string): readonly [prefix: string, last: string] {
  if (Buffer.byteLength(name) <= 100) return ['', name];
  for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) {
    const [prefix, last] = [name.slice(0, at), name.slice(at + 1)];
    if (Buffer.byteLength(prefix) <= 155 && Buffer.byteLength(last) <= 100 && last !== '')
      return [prefix, last];
  }
  throw new RangeError(`the name ${name} is too long for a tar archive`);
}
