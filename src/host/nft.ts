/**
 * The kernel's copy of the table. It is written when the text is another than what was written last, and when what is there is not
 * what was written: others flush rulesets (a reloaded firewall) without a word.
 */
import type { Problem } from '../errors/problem.js';
import type { Run } from './command.js';
import { noTableText, tableName } from './table.js';

/** Of the table and its chains: text that is another once one of them was removed, made again or flushed; empty: no table. May throw. */
export type AskMark = (table: string, chains: readonly string[]) => string;

export class Nft {
  readonly #run: Run;
  readonly #askMark: AskMark | undefined;
  #written: string | null = null;
  /** After it was written; null: not known. */
  #mark: string | null = null;
  /** As nft lists it; the kernel's own words for what was written. */
  #listed: string | null = null;

  constructor(run: Run, askMark?: AskMark) {
    this.#run = run;
    this.#askMark = askMark;
  }

  /** Whether somebody has removed or flushed what was written, as far as a look that costs next to nothing shows. */
  get touched(): boolean {
    return this.#mark !== null && this.#markNow() !== this.#mark;
  }

  /** Puts the table there. `look`: asks the kernel too whether it is still. null: it is there. */
  async apply(text: string, look: boolean): Promise<Problem | null> {
    if (text === this.#written && !(look && (await this.#list()) !== this.#listed)) {
      // As it is it is right, whoever made it so.
      if (look) this.#mark = this.#markNow();
      return null;
    }
    const { status, stderr, missing } = await this.#run('nft', ['-f', '-'], text);
    if (missing) return nftMissing;
    if (status !== 0) {
      this.#written = null;
      return {
        code: 'host-nft',
        severity: 'error',
        message: `nft does not take the table ${tableName}: ${firstLines(stderr)}`,
        fix: 'Check that the kernel has nf_tables with nat and fib (CONFIG_NFT_NAT, CONFIG_NFT_FIB_INET, CONFIG_NFT_MASQ); weft tries again.',
      };
    }
    this.#written = text;
    this.#mark = this.#markNow();
    this.#listed = await this.#list();
    return null;
  }

  /** Idempotent. */
  async remove(): Promise<Problem | null> {
    this.#written = null;
    this.#mark = null;
    const { status, stderr, missing } = await this.#run('nft', ['-f', '-'], noTableText);
    if (missing) return nftMissing;
    return status === 0
      ? null
      : { code: 'host-nft', severity: 'error', message: `nft: ${firstLines(stderr)}` };
  }

  #markNow(): string | null {
    const chains = [...(this.#written ?? '').matchAll(/^ *chain (\S+) \{$/gm)].map(([, name]) => name!);
    try {
      return this.#askMark?.(tableName, chains) ?? null;
    } catch {
      // Then only the thorough look finds out.
      return null;
    }
  }

  /** null: there is none. */
  async #list(): Promise<string | null> {
    const { status, stdout } = await this.#run('nft', ['-s', 'list', 'table', 'inet', tableName]);
    return status === 0 ? stdout : null;
  }
}

const nftMissing: Problem = {
  code: 'host-nft-missing',
  severity: 'error',
  message: 'There is no program nft, so pods are not masqueraded and no hostPort is there.',
  fix: 'Install the package nftables; the image of weft has it. Without either, set host.enabled to off and masquerade by other means.',
};

function firstLines(text: string): string {
  return text.trim().split('\n').slice(0, 3).join(' | ');
}
