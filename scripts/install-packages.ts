import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import process from 'node:process';

/**
 * Installs Debian's or Ubuntu's packages that are missing; does nothing when all are there. Ends the process loudly when
 * one cannot be installed.
 *
 * @param packages By name, a file that the package brings: its presence says that it is installed.
 * @param purpose What they are for, as `the tests`.
 * @param hint What the user can do when it fails, beside installing them by hand.
 */
export function installPackages(packages: Readonly<Record<string, string>>, purpose: string, hint = ''): void {
  const isInstalled = (file: string): boolean => existsSync(file) || existsSync(file.replace(/^\/usr/, ''));
  const missing = Object.entries(packages)
    .filter(([, file]) => !isInstalled(file))
    .map(([name]) => name);
  if (missing.length === 0) return;
  process.stderr.write(`installing for ${purpose}: ${missing.join(' ')}\n`);
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  const complaint = `hint: install ${missing.join(', ')} by hand${hint}\n`;
  run([...sudo, 'apt-get', 'update', '-qq'], complaint);
  run([...sudo, 'apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...missing], complaint);
}

function run(words: readonly string[], complaint: string): void {
  const [program, ...args] = words;
  if (program === undefined) throw new Error('no program');
  const { status, error } = spawnSync(program, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (error === undefined && status === 0) return;
  const reason = error === undefined ? '' : `: ${error.message}`;
  process.stderr.write(`error: ${words.join(' ')} failed${reason}\n${complaint}`);
  process.exit(1);
}
