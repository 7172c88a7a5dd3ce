import { hostDeviceNames } from '../machine-requests.ts';
import type { Filter } from '../plugin.ts';

/** The node has the host devices that a machine names. That each is given once, the resources filter sees to. */
export const hostDevices: Filter = ({ spec, key }) => {
  const names = hostDeviceNames(spec);
  const usb = (spec.domain?.devices?.hostdev ?? []).flatMap(({ type, source }) => {
    const vendor = source?.vendor?.id;
    const product = source?.product?.id;
    return type === 'usb' && vendor !== undefined && product !== undefined ? [{ vendor, product }] : [];
  });
  if (names.length + usb.length === 0) return undefined;
  return ({ traits }) => {
    if (traits.hostDevices === undefined) return undefined;
    for (const name of names) {
      const device = traits.hostDevices.find((one) => one.name === name);
      if (device === undefined) return { reason: `without host device ${name}` };
      if (device.usedBy !== undefined && device.usedBy !== '' && device.usedBy !== key) {
        return { reason: `whose host device ${name} is taken`, crowded: true };
      }
    }
    const missing = usb.find(
      ({ vendor, product }) =>
        traits.hostDevices?.some((one) => one.vendorID === vendor && one.productID === product) !== true,
    );
    return missing === undefined ? undefined : { reason: `without USB device ${missing.vendor}:${missing.product}` };
  };
};
