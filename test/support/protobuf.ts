/**
 * The part of protocol buffers that the container runtime's interface needs: messages described by a table of field numbers, so that the
 * tests speak to containerd without generated code and without a library.
 *
 * Encoding: https://protobuf.dev/programming-guides/encoding/. Absent and zero are the same, as in proto3. Integers are varints of at most
 * 53 bits (negative ones are not needed, an exit status included). Unknown fields are skipped.
 */
export type Scalar = 'string' | 'int' | 'bool' | 'bytes' | 'map';

/** `map` is map<string, string>. */
export interface Field {
  readonly number: number;
  readonly of: Scalar | Message;
  readonly repeated?: boolean;
}

export type Message = { readonly [name: string]: Field };

export type Value = { readonly [name: string]: unknown };

export const string = (number: number): Field => ({ number, of: 'string' });
export const int = (number: number): Field => ({ number, of: 'int' });
export const bool = (number: number): Field => ({ number, of: 'bool' });
export const bytes = (number: number): Field => ({ number, of: 'bytes' });
export const map = (number: number): Field => ({ number, of: 'map' });
export const one = (number: number, of: Message): Field => ({ number, of });
export const many = (number: number, of: Message | Scalar): Field => ({ number, of, repeated: true });

const varintType = 0;
const fixed64Type = 1;
const lengthType = 2;
const fixed32Type = 5;

const entry: Message = { key: string(1), value: string(2) };

export function encode(message: Message, value: Value): Buffer {
  const parts: Buffer[] = [];
  for (const [name, field] of Object.entries(message)) {
    const held = value[name];
    if (held === undefined || held === null) continue;
    if (field.of === 'map') {
      for (const [key, text] of Object.entries(held as Record<string, string>))
        parts.push(delimited(field.number, encode(entry, { key, value: text })));
      continue;
    }
    for (const item of field.repeated === true ? (held as readonly unknown[]) : [held])
      parts.push(encodeOne(field, item));
  }
  for (const name of Object.keys(value))
    if (!(name in message)) throw new Error(`the message has no field ${name}`);
  return Buffer.concat(parts);
}

function encodeOne({ number, of }: Field, value: unknown): Buffer {
  switch (of) {
    case 'string':
      return delimited(number, Buffer.from(value as string));
    case 'bytes':
      return delimited(number, value as Buffer);
    case 'int':
    case 'bool':
      return Buffer.concat([varint(number * 8 + varintType), varint(Number(value))]);
    default:
      return delimited(number, encode(of as Message, value as Value));
  }
}

function delimited(number: number, content: Buffer): Buffer {
  return Buffer.concat([varint(number * 8 + lengthType), varint(content.length), content]);
}

function varint(value: number): Buffer {
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`no unsigned integer: ${value}`);
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Absent scalars are '', 0, false or empty; absent messages are undefined. Throws on bytes that are no message. */
export function decode(message: Message, data: Buffer): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  const byNumber = new Map<number, [string, Field]>();
  for (const [name, field] of Object.entries(message)) {
    byNumber.set(field.number, [name, field]);
    const empty = { string: '', int: 0, bool: false, bytes: Buffer.alloc(0), map: {} };
    if (field.repeated === true) value[name] = [];
    else if (typeof field.of === 'string') value[name] = field.of === 'map' ? {} : empty[field.of];
  }
  let at = 0;
  const readVarint = (): number => {
    let result = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = data[at++];
      if (byte === undefined) throw new Error('a message ends within a number');
      result += (byte & 127) * scale;
      if (byte < 128) return result;
    }
  };
  while (at < data.length) {
    const tag = readVarint();
    const type = tag % 8;
    const [name, field] = byNumber.get(Math.floor(tag / 8)) ?? [];
    let content: Buffer | number = 0;
    if (type === varintType) content = readVarint();
    else if (type === lengthType) {
      const length = readVarint();
      content = data.subarray(at, at + length);
      if (content.length < length) throw new Error('a message ends within a field');
      at += length;
    } else if (type === fixed64Type) at += 8;
    else if (type === fixed32Type) at += 4;
    else throw new Error(`a field of the unknown type ${type}`);
    if (name === undefined || field === undefined) continue;
    if (field.of === 'map') {
      const { key, value: text } = decode(entry, content as Buffer);
      (value[name] as Record<string, unknown>)[key as string] = text;
      continue;
    }
    const item = decodeOne(field.of, content);
    if (field.repeated === true) (value[name] as unknown[]).push(item);
    else value[name] = item;
  }
  return value;
}

function decodeOne(of: Exclude<Field['of'], 'map'>, content: Buffer | number): unknown {
  switch (of) {
    case 'string':
      return (content as Buffer).toString();
    case 'bool':
      return content !== 0;
    case 'int':
    case 'bytes':
      return content;
    default:
      return decode(of, content as Buffer);
  }
}
