import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Argument, Option, type Command } from 'commander';
import { addDiskOptions, diskManifest, type DiskFlags } from './create/disk.ts';
import { virtualDiskKind, virtualMachineKind, virtualMachineOperationKind } from '../api/kinds.ts';
import { assertValid } from '../api/validate.ts';
import { runStrategies, type CloudInit, type VirtualMachine } from '../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import { UsageError } from '../base/errors.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { readError } from '../cli/input/list-inputs.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { operationFor, operationOver } from '../cli/machine-verb.ts';
import { parseMemorySize } from '../cli/memory-size.ts';
import { assertNamespaceName, assertObjectName } from '../cli/object-name.ts';
import { createObject } from '../cli/resources/create-object.ts';
import { parseFields } from '../cli/resources/flag-fields.ts';
import { resourceOf, resourcesNamed } from '../cli/resources/known-resources.ts';
import { machineManifest, type MachineFlags } from '../cli/resources/machine-manifest.ts';
import { parseInteger } from '../cli/resources/parse-integer.ts';
import { parseOutput } from '../cli/resources/print-objects.ts';
import { addDryRunOption, addFilenameOption, forEachReported, type DryRun } from '../cli/resources/resource-options.ts';
import { waitForObject } from '../cli/wait-for-object.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { refOf } from '../kube/object.ts';

interface CreateFlags extends KubeFlags {
  readonly filename?: readonly string[];
  readonly dryRun: DryRun;
  readonly output?: string;
  readonly wait: boolean;
  readonly timeout: number;
}

interface CreateMachineFlags extends CreateFlags, MachineFlags {
  readonly cloudInit?: string;
  readonly sshKey?: readonly string[];
}

/** `virtctl create -f`, `virtctl create vm NAME`, `virtctl create disk NAME`, `virtctl create namespace NAME`. */
export function configure(command: Command, context: Context): void {
  command.usage('-f FILE | vm NAME | disk NAME | namespace NAME [options]');
  addFilenameOption(command, 'create the objects of');
  addCommonOptions(command);
  addExamples(command, [
    ['What a file says', 'virtctl create -f vm.yaml'],
    ["A machine from libvirt's XML", 'virsh dumpxml web | virtctl create -f -'],
    ['A machine', 'virtctl create vm web --cpus 2 --memory 2Gi --disk web-root --interface front'],
  ]);
  configureMachine(command.command('vm').alias('virtualmachine').summary('create a machine'), context);
  configureDisk(command.command('disk').alias('virtualdisk').summary('create a disk'), context);
  configureNamespace(command.command('namespace').alias('ns').summary('create a namespace'), context);
  // What is no subcommand comes here. Set after they are made, which take it over.
  command
    .addArgument(new Argument('[kind...]'))
    .configureHelp({ ...command.configureHelp(), visibleArguments: () => [] });
  command.action(async ([kind]: readonly string[], flags: CreateFlags) => {
    if (kind !== undefined) {
      throw new UsageError(`there is no \`create ${kind}\`; there are vm, disk and namespace`, {
        hint: 'everything else comes from a file: virtctl create -f FILE',
      });
    }
    const files = flags.filename;
    if (files === undefined) {
      throw new UsageError('expected -f FILE, vm NAME, disk NAME or namespace NAME', {
        hint: 'see `virtctl create --help`',
      });
    }
    const format = parseOutput(flags.output);
    await withOptionalClient(context, flags, async (client, namespace) => {
      const { readManifests } = await import('../cli/resources/manifests.ts');
      const { manifests, failed } = await readManifests(context, files, {
        givenNamespace: flags.namespace,
        namespace,
        complete: true,
      });
      const several = manifests.length > 1;
      await forEachReported(
        context,
        manifests,
        async ({ resource, object }) => {
          await createObject(context, client, resource, object, { ...flags, format, several });
        },
        failed,
      );
    });
  });
}

function addCommonOptions(command: Command): void {
  command.option('-o, --output <format>', 'json|yaml|name|xml|jsonpath=TEMPLATE instead of what was done');
  addBooleanFlag(command, 'wait', 'wait until it is ready: a machine, until it runs', false);
  command.addOption(
    new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(300_000, '5m'),
  );
  addDryRunOption(command);
  addKubeOptions(command);
}

/** A subcommand's flags. Those that `create` has too are taken by it, wherever they stand. */
function flagsOf(invoked: Command): CreateFlags {
  const { parent } = invoked;
  const own = invoked.opts<CreateFlags>();
  const given = Object.entries(parent?.opts<CreateFlags>() ?? {}).filter(
    ([name]) => parent?.getOptionValueSource(name) === 'cli',
  );
  const flags = { ...own, ...Object.fromEntries(given) };
  if (flags.filename !== undefined) throw new UsageError(`-f does not go with \`create ${invoked.name()}\``);
  return flags;
}

/** A dry run on the client asks no server: there may be none. */
async function withOptionalClient(
  context: Context,
  flags: CreateFlags,
  work: (client: KubeClient | undefined, namespace: string) => Promise<void>,
): Promise<void> {
  assertNamespaceName(flags.namespace);
  if (flags.dryRun === 'client') await work(undefined, flags.namespace ?? 'default');
  else await withKubeClient(context, flags, (client) => work(client, client.namespace));
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

function configureMachine(command: Command, context: Context): void {
  const many = (flags: string, description: string): Option => new Option(flags, description).argParser(collect);
  command
    .description('Create a machine.')
    .argument('<name>', 'its name')
    .addOption(new Option('--cpus <count>', 'virtual CPUs').argParser(parseInteger('a number of CPUs', 1)).default(1))
    .addOption(
      new Option('--memory <size>', 'memory, as 2Gi or 2048MiB').argParser(parseMemorySize).default(2 ** 30, '1Gi'),
    )
    .option('--arch <arch>', 'the architecture, as aarch64; x86_64 when left out')
    .option('--machine <type>', 'the machine type, as pc or q35; q35 on x86 when left out')
    .addOption(new Option('--domain-type <type>', 'with KVM or emulated; kvm when left out').choices(['kvm', 'qemu']))
    .option('--cpu-model <model>', 'host-passthrough, host-model, maximum, or a model of libvirt')
    .addOption(new Option('--firmware <firmware>', 'the firmware').choices(['bios', 'efi', 'uefi']))
    .addOption(
      many(
        '--disk <disk>',
        'a VirtualDisk, /a/path, or disk=|image=|path=|empty=SIZE with name=,format=,bus=,dev=,cache=,serial=,boot=,readonly,shareable',
      ),
    )
    .addOption(many('--cdrom <medium>', 'a VirtualImage or /a/path.iso, with bus=,boot='))
    .addOption(
      many('--interface <network>', 'a VirtualNetwork, or network=|bridge=|direct=|user with name=,model=,mac=,ip='),
    )
    .option('--kernel <path>', "a kernel on the node, booted without the guest's boot loader")
    .option('--initrd <path>', 'its initial RAM disk on the node')
    .option('--cmdline <text>', 'its command line')
    .option('--cloud-init <file>', 'a file of user data; or user-data=,network-data=,meta-data=FILE,secret=NAME,type=')
    .addOption(many('--ssh-key <file>', 'a public key that cloud-init lets in'))
    .addOption(new Option('--run-strategy <strategy>', 'when it runs; Always when left out').choices(runStrategies))
    .option('--node <name>', 'the node it runs on; chosen by the scheduler when left out')
    .option('--start', 'start it, as is the default; with --run-strategy Manual once')
    .option('--no-start', 'leave it off (run strategy Halted)')
    .option('--paused', 'with paused CPUs after each start')
    .option('--description <text>', 'what it is for')
    .addOption(many('--label <pairs>', 'labels, as app=web,tier=front'))
    .addOption(many('--annotation <pair>', 'an annotation, as owner=me'));
  addCommonOptions(command);
  addExamples(command, [
    [
      'A machine with a disk and a network',
      'virtctl create vm web --cpus 2 --memory 2Gi --disk web-root --interface front',
    ],
    ['An installation from a CD-ROM', 'virtctl create vm new --disk empty=20Gi --cdrom /srv/debian.iso,boot=1'],
    ['See what would be made', 'virtctl create vm web --disk web-root --dry-run=client -o yaml'],
  ]);
  // The last one would count.
  const given = new Set<string>();
  for (const flag of ['start', 'no-start']) command.on(`option:${flag}`, () => given.add(flag));
  command.action(async (name: string, _flags: unknown, invoked: Command) => {
    const flags = flagsOf(invoked) as CreateMachineFlags;
    if (given.size > 1) throw new UsageError('give --start or --no-start, not both');
    assertObjectName(name);
    const files = {
      cloudInit: flags.cloudInit === undefined ? undefined : await readCloudInit(context, flags.cloudInit),
      sshKeys: (await Promise.all((flags.sshKey ?? []).map((file) => readKeys(context, file)))).flat(),
    };
    const format = parseOutput(flags.output);
    await withOptionalClient(context, flags, async (client, namespace) => {
      const machine = machineManifest(name, namespace, flags, files);
      assertValid(machine);
      const resource = resourceOf(virtualMachineKind);
      const isStarted = flags.start === true && flags.runStrategy === 'Manual' && flags.dryRun === 'none';
      // It is ready when its start is over.
      const options = { ...flags, wait: flags.wait && !isStarted, format, several: false };
      const created = await createObject(context, client, resource, machine, options);
      if (client !== undefined && isStarted) await startOnce(context, client, created as VirtualMachine, flags);
    });
  });
}

async function startOnce(
  context: Context,
  client: KubeClient,
  machine: VirtualMachine,
  { wait, timeout }: CreateFlags,
): Promise<void> {
  const { signal, stderr } = context;
  const { name = '' } = machine.metadata;
  const operations = client.resource<VirtualMachineOperation>(resourceOf(virtualMachineOperationKind));
  const asked = operationFor(machine, { verb: 'Start' });
  try {
    await operations.create(asked, { signal });
  } catch (error) {
    stderr.write(`note: vm/${name} is made, but may not have been told to start: virtctl start ${name}\n`);
    throw error;
  }
  if (!wait) return;
  const ref = refOf(asked);
  await waitForObject(operations, ref, (now) => operationOver(now, ref.name), {
    signal,
    timeoutMs: timeout,
    what: `vm/${name} to be started (vmop/${ref.name}; see 'virtctl describe vm ${name}')`,
  });
}

const cloudInitKeys = ['user-data', 'network-data', 'meta-data', 'secret', 'type'] as const;

async function readCloudInit(context: Context, text: string): Promise<CloudInit> {
  const fields = parseFields('--cloud-init', text, cloudInitKeys, () => 'user-data');
  const read = async (file: string | undefined): Promise<string | undefined> =>
    file === undefined ? undefined : readFull(context, file);
  const [userData, networkData, metaData] = await Promise.all(
    [fields['user-data'], fields['network-data'], fields['meta-data']].map(read),
  );
  const { secret, type } = fields;
  if (type !== undefined && type !== 'NoCloud' && type !== 'ConfigDrive') {
    throw new UsageError(`--cloud-init type=${type}: expected NoCloud or ConfigDrive`);
  }
  return {
    ...(type === undefined ? {} : { type }),
    ...(userData === undefined ? {} : { userData }),
    ...(networkData === undefined ? {} : { networkData }),
    ...(metaData === undefined ? {} : { metaData: metaData.endsWith('\n') ? metaData : `${metaData}\n` }),
    ...(secret === undefined ? {} : { secretRef: { name: secret } }),
  };
}

/** A line of authorized_keys (sshd(8)): options where there are any, the type, the key in base64. */
const publicKey = /(?:^|\s)(?:ssh-|ecdsa-|sk-)[a-z0-9@.-]+\s+AAAA[A-Za-z0-9+/]+={0,3}(?:\s|$)/;

async function readKeys(context: Context, file: string): Promise<string[]> {
  const lines = (await readText(context, file)).split('\n').map((line) => line.trim());
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (keys.some((key) => key.includes('PRIVATE KEY'))) {
    throw new UsageError(`--ssh-key ${file}: this is a private key; give the public one (${file}.pub)`);
  }
  if (keys.length === 0) throw new UsageError(`--ssh-key ${file}: there is no key in it`);
  const wrong = keys.find((key) => !publicKey.test(key));
  if (wrong !== undefined) {
    const shown = wrong.length > 40 ? `${wrong.slice(0, 37)}...` : wrong;
    throw new UsageError(
      `--ssh-key ${file}: ${JSON.stringify(shown)} is not a public key, as ssh-ed25519 AAAA… me@here`,
    );
  }
  return keys;
}

/** An empty file is a mistake: the guest would come up without what it was to get. */
async function readFull(context: Context, file: string): Promise<string> {
  const text = await readText(context, file);
  if (text.trim() === '') throw new UsageError(`--cloud-init ${file}: there is nothing in it`);
  return text;
}

async function readText(context: Context, file: string): Promise<string> {
  try {
    return await readFile(resolve(context.cwd, file), 'utf8');
  } catch (error) {
    throw readError(file, error);
  }
}

function configureDisk(command: Command, context: Context): void {
  addDiskOptions(command);
  addCommonOptions(command);
  addExamples(command, [
    ['Twenty empty GiB', 'virtctl create disk web-data --size 20Gi'],
    ['What a disk had at a snapshot', 'virtctl create disk rescued --from-snapshot before-upgrade/root'],
  ]);
  command.action(async (name: string, _flags: unknown, invoked: Command) => {
    const flags = flagsOf(invoked) as CreateFlags & DiskFlags;
    assertObjectName(name);
    const format = parseOutput(flags.output);
    await withOptionalClient(context, flags, async (client, namespace) => {
      const disk = await diskManifest(context, client, name, namespace, flags);
      await createObject(context, client, resourceOf(virtualDiskKind), disk, { ...flags, format, several: false });
    });
  });
}

function configureNamespace(command: Command, context: Context): void {
  command.description('Create a namespace.').argument('<name>', 'its name');
  addCommonOptions(command);
  command.action(async (name: string, _flags: unknown, invoked: Command) => {
    const flags = flagsOf(invoked);
    assertNamespaceName(name);
    const [resource] = resourcesNamed('namespace');
    if (resource === undefined) return;
    await withOptionalClient(context, flags, async (client) => {
      const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
      const format = parseOutput(flags.output);
      await createObject(context, client, resource, object, { ...flags, wait: false, format, several: false });
    });
  });
}
