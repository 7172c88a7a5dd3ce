/** What a start says for which a file is missing: libvirt and QEMU name the path only. Pure. */
import type { VirtualMachine } from '../../api/virtual-machine.ts';

/** libvirt: "Cannot access storage file '/a' (as uid:64055, gid:108): No such file…"; QEMU: "Could not open '/a': No such file…". */
const words = /(?:Cannot access [a-z ]+|Could not open) '(\/[^']*)'[^']*No such file or directory/;

/**
 * Which volume a start failed for, and what has to be done.
 *
 * @param message In the words of libvirt.
 * @param machine With its status, which says where its volumes are.
 * @returns undefined where it failed for another reason, or for a file that is no volume's.
 */
export function explainMissingFile(
  message: string,
  { spec, status }: VirtualMachine,
  nodeName: string,
): string | undefined {
  const path = words.exec(message)?.[1];
  if (path === undefined) return undefined;
  const given = spec.volumes?.find(({ hostPath }) => hostPath?.path === path);
  if (given !== undefined) {
    return (
      `volume ${given.name}: there is no file ${path} on node ${nodeName}; a hostPath has to be there before the start: ` +
      `put it there, or change the volume (${message})`
    );
  }
  const known = status?.volumes?.find(({ source }) => source === path);
  return known === undefined
    ? undefined
    : `volume ${known.name}: there is no file ${path} on node ${nodeName} any more (${message})`;
}
