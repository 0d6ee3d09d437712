/**
 * Bytes of one section, written element by element at the offsets of the layout table.
 */
import type { Address } from '../net/address.js';
import type { Struct } from './layout.js';

export class SectionWriter<F extends string> {
  readonly bytes: Uint8Array;
  readonly count: number;
  readonly elementSize: number;
  readonly #at: Readonly<Record<F, number>>;
  readonly #view: DataView;
  #base = 0;

  constructor(of: Struct<string, F>, count: number) {
    this.bytes = new Uint8Array(of.size * count);
    this.count = count;
    this.elementSize = of.size;
    this.#at = of.at;
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Later writes go to this element. */
  element(index: number): this {
    this.#base = index * this.elementSize;
    return this;
  }

  u8(field: F, value: number): this {
    this.#view.setUint8(this.#base + this.#at[field], value);
    return this;
  }

  u16(field: F, value: number): this {
    this.#view.setUint16(this.#base + this.#at[field], value, true);
    return this;
  }

  u32(field: F, value: number): this {
    this.#view.setUint32(this.#base + this.#at[field], value, true);
    return this;
  }

  u64(field: F, high: number, low: number): this {
    this.#view.setUint32(this.#base + this.#at[field], low, true);
    this.#view.setUint32(this.#base + this.#at[field] + 4, high, true);
    return this;
  }

  address(field: F, words: Address['words']): this {
    const at = this.#base + this.#at[field];
    for (let i = 0; i < 4; i++) this.#view.setUint32(at + 4 * i, words[i]!);
    return this;
  }
}

const encoder = new TextEncoder();

/** Bytes of texts, for pools that are made one after the other with mostly the same texts. */
export class TextBytes {
  #before: ReadonlyMap<string, Uint8Array> = new Map();
  #now = new Map<string, Uint8Array>();

  of(text: string): Uint8Array {
    const bytes = this.#now.get(text) ?? this.#before.get(text) ?? encoder.encode(text);
    this.#now.set(text, bytes);
    return bytes;
  }

  /** A new pool begins: what neither it nor the one before asks for is forgotten. */
  turn(): void {
    this.#before = this.#now;
    this.#now = new Map();
  }
}

/** A text section under construction; equal texts are stored once. */
export class TextPool {
  readonly #texts: TextBytes;
  readonly #parts: Uint8Array[] = [];
  readonly #known = new Map<string, { readonly offset: number; readonly length: number }>();
  #size = 0;

  constructor(texts: TextBytes) {
    this.#texts = texts;
    texts.turn();
  }

  put(text: string): { readonly offset: number; readonly length: number } {
    let known = this.#known.get(text);
    if (known === undefined) {
      const bytes = this.#texts.of(text);
      known = { offset: this.#size, length: bytes.length };
      this.#parts.push(bytes);
      this.#size += bytes.length;
      this.#known.set(text, known);
    }
    return known;
  }

  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }
}
