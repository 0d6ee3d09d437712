/**
 * The compiled policy before it is bytes: the settled tables, and for each group a version that grows when the group changed, so that
 * sections of an image can be kept while nothing in them moved. The tables are the compiler's own and valid until its next update.
 */
import type { Identity } from '../identity/identity.js';
import type { KnownAddress, PodClass } from './address-table.js';
import type { PortSet } from './port-set.js';
import type { Prefix, TrieNode } from './prefix-table.js';
import type { Program } from './program.js';
import type { Row } from './row.js';
import type { PolicyEntry, RuleEntry } from './rule.js';
import type { ServiceLayout } from './service-table.js';
import type { PolicySettings } from './settings.js';

export type Group =
  | 'policies'
  | 'portSets'
  | 'rows'
  | 'programs'
  | 'identityCells'
  | 'blockCells'
  | 'identities'
  | 'prefixes'
  | 'classes'
  | 'population'
  | 'addresses'
  | 'frontends'
  | 'services';

export interface PolicyTables {
  readonly settings: PolicySettings;
  readonly policies: readonly PolicyEntry[];
  readonly rules: readonly RuleEntry[];
  readonly portSets: readonly PortSet[];
  readonly rows: readonly Row[];
  readonly programs: readonly Program[];
  readonly identities: readonly Identity[];
  readonly prefixes: readonly Prefix[];
  readonly tries: { readonly 4: TrieNode; readonly 6: TrieNode };
  readonly classes: readonly PodClass[];
  readonly addresses: ReadonlyMap<string, KnownAddress>;
  /** More than the slots of all classes. */
  readonly classSlots: number;
  /** Those with another class, program or flags than at the last call; with some that are gone. */
  takeChangedAddresses(): readonly KnownAddress[];
  readonly services: ServiceLayout;
  readonly versions: Readonly<Record<Group, number>>;
}
