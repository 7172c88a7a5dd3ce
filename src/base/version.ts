/** The version of this build: package.json's, put in by the bundler; `0.0.0-dev` when run from the sources. */
declare const VIRTCTL_VERSION: string | undefined;

/** The version of virtctl, as `0.1.0`. */
export const version: string = typeof VIRTCTL_VERSION === 'string' ? VIRTCTL_VERSION : '0.0.0-dev';
