/** Names that libvirt takes for domains, and Kubernetes does not take for objects; some of them come to the same. */
export const oddNames: readonly string[] = [
  ...['Upper Case_Ünï', 'upper-case-n', 'UPPER_CASE_n', 'upper case n', 'upper.case.n', '-rf', '--help', '_', '日本'],
  ...["a<b>'c", '$(reboot)', '..x..', 'node/../x'.replaceAll('/', ';'), 'L'.repeat(240), `${'m'.repeat(239)}M`],
];

/** The longest name of an object. */
export const maxNameLength = 253;
