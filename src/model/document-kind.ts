/** libvirt's document kinds that have a model, named as `virt-xml-validate` and libvirt's schema files name them. */
export const documentKinds = [
  'domain',
  'domainsnapshot',
  'domaincheckpoint',
  'network',
  'networkport',
  'storagepool',
  'storagevol',
  'nwfilter',
  'secret',
  'nodedev',
] as const;

/** One of {@link documentKinds}. */
export type DocumentKind = (typeof documentKinds)[number];
