/**
 * Finds a real kube-apiserver for the tests, and prints its path when run as a program:
 *
 * 1. `KUBE_APISERVER=/path`, when set;
 * 2. the one unpacked or built before, in `node_modules/.cache/kube-apiserver/`;
 * 3. `../shared/bin/kube-apiserver.zst`, unpacked there;
 * 4. one built from Debian's source package "kubernetes" (1.20.2), with Debian's Go. Needs root and about 3 GB of
 *    disk, and takes about five minutes on two cores.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = resolve(import.meta.dirname, '..');
const cached = join(root, 'node_modules/.cache/kube-apiserver/kube-apiserver');
const packed = resolve(root, '../shared/bin/kube-apiserver.zst');
const kubernetes = 'k8s.io/kubernetes';

/**
 * The path of a kube-apiserver that can be run, unpacked or built first where there is none.
 *
 * @param env `KUBE_APISERVER` in it wins; usually `process.env`.
 * @throws Error when `KUBE_APISERVER` names no file, or when a step of the build fails (with its output's end).
 */
export async function findKubeApiserver(env: Readonly<Record<string, string | undefined>>): Promise<string> {
  const given = env['KUBE_APISERVER'];
  if (given !== undefined && given !== '') {
    if (!existsSync(given)) throw new Error(`KUBE_APISERVER=${given}: there is no such file`);
    return given;
  }
  if (existsSync(cached)) return cached;
  await mkdir(dirname(cached), { recursive: true });
  // Made under a name of its own and renamed, so that nobody ever runs half a file.
  const fresh = `${cached}.${process.pid}`;
  try {
    if (existsSync(packed)) await run('zstd', ['--decompress', '--quiet', '--force', packed, '-o', fresh]);
    else await build(fresh);
    await chmod(fresh, 0o755);
    await rename(fresh, cached);
  } finally {
    await rm(fresh, { force: true });
  }
  return cached;
}

async function build(target: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'kube-apiserver-'));
  try {
    // apt-get drops its rights to the user _apt for downloads, who must be able to write here.
    await chmod(work, 0o777);
    await run('apt-get', [
      ...['install', '-y', '-qq', '--no-install-recommends'],
      ...['golang-go', 'golang-github-modern-go-reflect2-dev', 'dpkg-dev'],
    ]);
    await downloadSource(work);
    const source = join(work, 'gopath/src', kubernetes);
    await mkdir(source, { recursive: true });
    const archive = (await readdir(work)).find((name) => /^kubernetes_.*\.orig\.tar\.gz$/.test(name));
    if (archive === undefined) throw new Error('the source package "kubernetes" holds no kubernetes_*.orig.tar.gz');
    await run('tar', ['xf', join(work, archive), '-C', source, '--strip-components=1']);
    await replaceReflect2(source);
    const env = {
      GOPATH: join(work, 'gopath'),
      GOCACHE: join(work, 'cache'),
      GO111MODULE: 'off',
      GOFLAGS: '',
      CGO_ENABLED: '0',
    };
    await generateOpenApi(work, source, env);
    const versions = ['component-base/version', 'client-go/pkg/version'].flatMap((name) => {
      const variable = `${kubernetes}/vendor/k8s.io/${name}`;
      return [`-X ${variable}.gitVersion=v1.20.2`, `-X ${variable}.gitMajor=1`, `-X ${variable}.gitMinor=20`];
    });
    const flags = ['-s', '-w', ...versions].join(' ');
    await run('go', ['build', '-ldflags', flags, '-o', target, `${kubernetes}/cmd/kube-apiserver`], {
      cwd: source,
      env,
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Fetches the source package through a source list of its own, so that the machine's stays as it is. */
async function downloadSource(work: string): Promise<void> {
  const parts = join(work, 'apt/parts');
  await mkdir(join(work, 'apt/lists/partial'), { recursive: true });
  await mkdir(parts, { recursive: true });
  const machine = '/etc/apt/sources.list.d/debian.sources';
  const sources = existsSync(machine)
    ? (await readFile(machine, 'utf8')).replace(/^Types:.*$/gm, 'Types: deb-src')
    : 'Types: deb-src\nURIs: https://deb.debian.org/debian\nSuites: bookworm\nComponents: main\n' +
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n';
  await writeFile(join(parts, 'source.sources'), sources);
  const config = join(work, 'apt/apt.conf');
  await writeFile(
    config,
    `Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "${parts}";\nDir::State::Lists "${work}/apt/lists";\n`,
  );
  const env = { APT_CONFIG: config };
  await run('apt-get', ['update', '-qq'], { env });
  await run('apt-get', ['source', '-qq', '--download-only', 'kubernetes'], { env, cwd: work });
}

/** The vendored reflect2 1.0.1 crashes when built with Go 1.18 or newer; Debian packages 1.0.2. */
async function replaceReflect2(source: string): Promise<void> {
  const vendored = join(source, 'vendor/github.com/modern-go/reflect2');
  await rm(vendored, { recursive: true });
  await cp('/usr/share/gocode/src/github.com/modern-go/reflect2', vendored, { recursive: true });
  for (const name of await readdir(vendored)) if (name.endsWith('_test.go')) await rm(join(vendored, name));
}

/** Kubernetes' OpenAPI definitions are generated, not shipped. */
async function generateOpenApi(work: string, source: string, env: Record<string, string>): Promise<void> {
  const generator = join(work, 'openapi-gen');
  await run('go', ['build', '-o', generator, `${kubernetes}/vendor/k8s.io/kube-openapi/cmd/openapi-gen`], {
    cwd: source,
    env,
  });
  const packages = new Set<string>();
  for (const folder of ['staging/src', 'pkg']) {
    for (const file of await readdir(join(source, folder), { recursive: true })) {
      if (!file.endsWith('.go') || file.includes('_test') || file.includes('/test')) continue;
      if (!(await readFile(join(source, folder, file), 'utf8')).includes('+k8s:openapi-gen=true')) continue;
      const prefix = folder === 'pkg' ? `${kubernetes}/pkg` : `${kubernetes}/vendor`;
      packages.add(`${prefix}/${dirname(file)}`);
    }
  }
  const machinery = ['version', 'util/intstr', 'api/resource', 'runtime'].map(
    (name) => `${kubernetes}/vendor/k8s.io/apimachinery/pkg/${name}`,
  );
  await run(
    generator,
    [
      ...['-O', 'zz_generated.openapi', '-h', '/dev/null', '-p', `${kubernetes}/pkg/generated/openapi`],
      ...['-r', join(work, 'violations'), '-i', [...[...packages].sort(), ...machinery].join(',')],
    ],
    { cwd: source, env },
  );
}

/** Runs a program to its end; the last lines of what it said are in the error when it fails. */
async function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  process.stderr.write(`+ ${program} ${args.slice(0, 4).join(' ')}${args.length > 4 ? ' …' : ''}\n`);
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4000);
    });
  }
  const code = await new Promise<number | null>((done, failed) => child.once('error', failed).once('close', done));
  if (code !== 0) throw new Error(`${program} ${args[0] ?? ''} failed with ${String(code)}:\n${said}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(`${await findKubeApiserver(process.env)}\n`);
}
