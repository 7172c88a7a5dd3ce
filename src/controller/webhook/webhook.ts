/**
 * The admission webhook as one thing: its server runs in every controller, its certificates come from one Secret, and the
 * leader keeps the ValidatingWebhookConfiguration. The configuration is written only once this controller can answer.
 */
import { Admission } from './admission.ts';
import { ensureCertificates, renewCertificates, type SecretObject, type WebhookCertificates } from './certificates.ts';
import type { FailurePolicy, ValidatingWebhookConfiguration, WebhookTarget } from './configuration.ts';
import { validatingWebhookConfigurations, webhookConfiguration, webhookTimeoutSeconds } from './configuration.ts';
import { startWebhookServer } from './server.ts';
import type { Caches } from '../caches.ts';
import type { Hypervisor } from '../../api/hypervisor.ts';
import { resourceOfKind } from '../../api/kinds.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { builtin } from '../../kube/resource-type.ts';
import { isNotFound } from '../../kube/status-error.ts';
import { Controller } from '../../reconcile/controller.ts';

/** What the user decides about the webhook. */
export interface WebhookOptions {
  /** The address to listen on; loopback unless asked otherwise. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** The Service in front of it; when left out the API server is given the address itself. */
  readonly service?: { readonly namespace: string; readonly name: string; readonly port: number } | undefined;
  /** What the API server calls it by, as `https://10.0.0.5:9443`; the address listened on when left out. */
  readonly url?: string | undefined;
  readonly failurePolicy: FailurePolicy;
}

/** Options of {@link startWebhook}. */
export interface StartWebhookOptions extends WebhookOptions {
  readonly client: KubeClient;
  readonly caches: Caches;
  /** Of the Secret. */
  readonly namespace: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The running webhook. */
export interface Webhook {
  readonly port: number;
  /** Gets the certificates, and renews them, until the signal aborts. */
  keepCertificates(signal: AbortSignal): Promise<void>;
  /** Keeps the configuration as it should be until the signal aborts; for the leader. */
  keepConfiguration(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** The Secret of the certificates. */
export const secretName = 'virtctl-webhook';
/** Certificates are looked at this often; they are renewed months before they end. */
const certificatesMs = 3_600_000;
/** Somebody may have deleted or changed the configuration. */
const configurationMs = 30_000;

/**
 * Starts the server. Until it has its certificates and the caches are full, it answers 503.
 *
 * @throws UnreachableError when the address cannot be listened on.
 */
export async function startWebhook(options: StartWebhookOptions): Promise<Webhook> {
  const { client, caches, clock, logger, namespace, service } = options;
  let certificates: WebhookCertificates | undefined;
  let onCertificates: () => void = () => undefined;
  const admission = new Admission({
    caches,
    machines: client.resource<VirtualMachine>(resourceOfKind('VirtualMachine')),
    hypervisors: client.resource<Hypervisor>(resourceOfKind('Hypervisor')),
    clock,
  });
  const host = options.url === undefined ? options.host : new URL(options.url).hostname.replace(/^\[|\]$/g, '');
  const hosts = service === undefined ? [host] : [`${service.name}.${service.namespace}.svc`];
  const server = await startWebhookServer({
    host: options.host,
    port: options.port,
    // Nobody trusts these: they only let the address be taken before the API server can be asked.
    certificate: renewCertificates(undefined, hosts, clock.now()).server,
    review: (body, signal) => admission.review(body, signal),
    problem: () => (certificates === undefined ? 'there are no certificates yet' : unknownYet(caches)),
    timeoutMs: (webhookTimeoutSeconds - 1) * 1000,
    logger,
  });
  const own = `https://${options.host.includes(':') ? `[${options.host}]` : options.host}:${server.port}`;
  const target: WebhookTarget = service === undefined ? { url: options.url ?? own } : { service };
  return {
    port: server.port,
    close: () => server.close(),
    async keepCertificates(signal) {
      const secrets = client.resource<SecretObject>(builtin.secrets);
      const ref = { namespace, name: secretName };
      const loop = new Controller({
        name: 'webhook-certificates',
        logger,
        clock,
        async reconcile(_key, context) {
          const found = await ensureCertificates({ secrets, ref, hosts, clock }, context.signal);
          if (found.server.certificate !== certificates?.server.certificate || found.bundle !== certificates.bundle) {
            server.use(found.server);
            certificates = found;
            onCertificates();
          }
          return { requeueAfterMs: certificatesMs };
        },
      });
      loop.enqueue(secretName);
      await loop.run(signal);
    },
    async keepConfiguration(signal) {
      const configurations = client.resource<ValidatingWebhookConfiguration>(validatingWebhookConfigurations);
      const loop = new Controller({
        name: 'webhook-configuration',
        logger,
        clock,
        async reconcile(_key, context) {
          // Certificates that come wake it.
          if (certificates === undefined) return undefined;
          const wanted = webhookConfiguration(target, certificates.bundle, options.failurePolicy);
          try {
            await configurations.apply(wanted, {
              force: true,
              fieldManager: 'virtctl-controller',
              signal: context.signal,
            });
          } catch (error) {
            if (!isNotFound(error)) throw error;
            logger.info('this API server has no admission webhooks; the embedded one checks by itself');
            return undefined;
          }
          return { requeueAfterMs: configurationMs };
        },
      });
      onCertificates = () => loop.enqueue(secretName);
      loop.enqueue(secretName);
      await loop.run(signal);
    },
  };
}

/** A server that was away for a moment is no reason to refuse: refusals are checked anyway. */
function unknownYet(caches: Caches): string | undefined {
  return caches.isSynced() ? undefined : 'the objects are not known yet';
}
