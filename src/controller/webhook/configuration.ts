/** The ValidatingWebhookConfiguration: what an API server asks the webhook about, where, and what it trusts. */
import { admissionPath } from './server.ts';
import { group, version } from '../../api/meta.ts';
import type { KubeObject } from '../../kube/object.ts';
import type { ResourceType } from '../../kube/resource-type.ts';

/** The resource. */
export const validatingWebhookConfigurations: ResourceType = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  kind: 'ValidatingWebhookConfiguration',
  plural: 'validatingwebhookconfigurations',
  namespaced: false,
};

/** The object's name. */
export const configurationName = 'virtctl';

/** Where an API server finds the webhook. */
export type WebhookTarget =
  | { readonly url: string }
  | { readonly service: { readonly namespace: string; readonly name: string; readonly port: number } };

/** What is done with a request when the webhook does not answer. */
export type FailurePolicy = 'Fail' | 'Ignore';

/** Seconds that an API server waits for an answer. */
export const webhookTimeoutSeconds = 5;

/** admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration. */
export interface ValidatingWebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly { readonly name: string; readonly clientConfig: { readonly caBundle?: string } }[];
}

/**
 * The configuration. Status is not asked about (it is a subresource), so executors are never held up by the webhook.
 *
 * @param bundle PEM of the authorities to trust.
 */
export function webhookConfiguration(
  target: WebhookTarget,
  bundle: string,
  failurePolicy: FailurePolicy,
): ValidatingWebhookConfiguration {
  const address =
    'url' in target
      ? { url: new URL(admissionPath, target.url).href }
      : { service: { ...target.service, path: admissionPath } };
  const webhook = {
    name: `validate.${group}`,
    admissionReviewVersions: ['v1'],
    clientConfig: { ...address, caBundle: Buffer.from(bundle).toString('base64') },
    rules: [
      {
        apiGroups: [group],
        apiVersions: [version],
        operations: ['CREATE', 'UPDATE', 'DELETE'],
        resources: ['*'],
        scope: '*',
      },
    ],
    failurePolicy,
    matchPolicy: 'Equivalent',
    sideEffects: 'None',
    timeoutSeconds: webhookTimeoutSeconds,
  };
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingWebhookConfiguration',
    metadata: { name: configurationName },
    webhooks: [webhook],
  };
}
