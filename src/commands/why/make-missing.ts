import { apiVersion } from '../../api/meta.ts';

/** The commands that make what a machine names and there is none of, by its kind; in capitals what the user has to say. */
const makers: Readonly<Record<string, (name: string) => string>> = {
  VirtualDisk: (name) => `virtctl create disk ${name} --size SIZE`,
  VirtualImage: (name) => `virtctl image upload ${name} FILE`,
  VirtualNetwork: (name) => `echo '${networkManifest(name)}' | virtctl create -f -`,
  ConfigMap: (name) => `kubectl create configmap ${name} --from-file=FILE`,
  // From files: what stands on a command line is seen by everybody and kept by the shell.
  Secret: (name) => `kubectl create secret generic ${name} --from-file=KEY=FILE`,
};

/**
 * The command that makes what an executor's message says there is none of.
 *
 * @returns undefined when it says something else. The namespace goes to its end.
 */
export function makeMissing(message: string): string | undefined {
  const [, kind = '', name = ''] = /there is no ([A-Z][A-Za-z]+) "([a-z0-9.-]+)"/.exec(message) ?? [];
  return makers[kind]?.(name);
}

/** A network behind NAT with a DHCP server, as YAML in one line. */
function networkManifest(name: string): string {
  const network =
    '{forward: {mode: nat}, ip: [{address: ADDRESS, prefix: 24, dhcp: {range: [{start: FIRST, end: LAST}]}}]}';
  return `{apiVersion: ${apiVersion}, kind: VirtualNetwork, metadata: {name: "${name}"}, spec: {network: ${network}}}`;
}
