/** The protocols that NetworkPolicy and Service ports can name. Everything else has no ports as far as policy is concerned. */
export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** IANA protocol numbers. */
export const protocolNumber: Readonly<Record<Protocol, number>> = Object.freeze({
  TCP: 6,
  UDP: 17,
  SCTP: 132,
});

export const protocols: readonly Protocol[] = Object.freeze(['TCP', 'UDP', 'SCTP']);

export function isProtocol(text: string): text is Protocol {
  return text === 'TCP' || text === 'UDP' || text === 'SCTP';
}
