/** Choices that the API leaves open, and limits; part of the configuration and of every image. */
export type DenyAction = 'drop' | 'reject';

export interface PolicySettings {
  /** `allow`: a pod may always reach its own node (as the API's documentation says); `judge`: that is ordinary egress. */
  readonly ownNodeEgress: 'allow' | 'judge';
  readonly denyAction: { readonly egress: DenyAction; readonly ingress: DenyAction };
}

export const defaultSettings: PolicySettings = Object.freeze({
  ownNodeEgress: 'allow',
  denyAction: Object.freeze({ egress: 'drop', ingress: 'drop' }),
});
