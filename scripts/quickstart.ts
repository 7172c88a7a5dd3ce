/**
 * Shows in a few seconds what virtctl does, on any machine with Node.js: builds it, then writes a libvirt XML as YAML,
 * the YAML as XML again, and compares. Touches nothing outside of this folder.
 *
 *   npm run quickstart
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

const root = join(import.meta.dirname, '..');
const virtctl = join(root, 'dist/virtctl.js');
const example = 'docs/examples/web.xml';

run([join(root, 'node_modules/tsx/dist/cli.mjs'), join(root, 'scripts/build.ts')]);

show(`A virtual machine as libvirt has it (${example}):`, readFileSync(join(root, example), 'utf8'));
const yaml = run([virtctl, 'convert', example]);
show(`virtctl convert ${example}`, yaml);
show('and back: virtctl convert -', run([virtctl, 'convert', '-'], yaml));
run([virtctl, 'convert', '--check', example]);
show('virtctl explain vm.spec.domain.devices.disk.driver.cache', explain('vm.spec.domain.devices.disk.driver.cache'));
process.stdout.write(
  `${example} went there and back: nothing was lost.\n\n` +
    `Next: node dist/virtctl.js convert --check /etc/libvirt/qemu   (your own machines, nothing is changed)\n` +
    `      node dist/virtctl.js --help\n`,
);

function explain(field: string): string {
  return run([virtctl, 'explain', field]);
}

function show(title: string, text: string): void {
  process.stdout.write(`# ${title}\n\n${text.trimEnd().replaceAll(/^/gm, '    ')}\n\n`);
}

/** Runs a program of ours with this Node.js; ends with its code when it fails, after what it said. */
function run(args: readonly string[], input = ''): string {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, { cwd: root, input, encoding: 'utf8' });
  if (error !== undefined) throw error;
  if (status !== 0) {
    process.stderr.write(`${stdout}${stderr}`);
    process.exit(status ?? 1);
  }
  return stdout;
}
