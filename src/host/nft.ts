/**
 * The kernel's copy of the table. It is written when the text is another than what was written last, and when what is there is not
 * what was written: others flush rulesets (a reloaded firewall) without a word.
 */
import type { Problem } from '../errors/problem.js';
import type { Run } from './command.js';
import { noTableText, tableName } from './table.js';

export class Nft {
  readonly #run: Run;
  #written: string | null = null;
  /** As nft lists it; the kernel's own words for what was written. */
  #listed: string | null = null;

  constructor(run: Run) {
    this.#run = run;
  }

  /** Puts the table there. `look`: asks the kernel too whether it is still. null: it is there. */
  async apply(text: string, look: boolean): Promise<Problem | null> {
    if (text === this.#written && !(look && (await this.#list()) !== this.#listed)) return null;
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
    this.#listed = await this.#list();
    return null;
  }

  /** Idempotent. */
  async remove(): Promise<Problem | null> {
    this.#written = null;
    const { status, stderr, missing } = await this.#run('nft', ['-f', '-'], noTableText);
    if (missing) return nftMissing;
    return status === 0
      ? null
      : { code: 'host-nft', severity: 'error', message: `nft: ${firstLines(stderr)}` };
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
