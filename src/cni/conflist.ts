/** The network configuration list that makes a runtime call weft. `config/weft.conflist` is an example of it, and tested to be one. */
import { capabilities } from './capabilities.js';
import { fieldOf, objectAt, optionalList } from './fields.js';
import { cniVersions } from './version.js';

/** The runtime takes the lexically first configuration of its folder. */
export const conflistName = '00-weft.conflist';
const networkName = 'weft';
export const pluginName = 'weft-cni';

/**
 * `cniVersion` is one that every runtime reads (containerd 1.4 knows none above 0.4.0); those that know `cniVersions` take the newest that they
 * speak, and with 1.1.0 come STATUS and GC.
 */
export function conflistText(runDir: string): string {
  const list = {
    cniVersion: '0.4.0',
    cniVersions: cniVersions.filter((version) => version >= '0.4.0'),
    name: networkName,
    plugins: [
      {
        type: pluginName,
        runDir,
        capabilities: Object.fromEntries(capabilities.map((name) => [name, true])),
      },
    ],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** Whether a configuration or list in a runtime's folder names our plugin. */
export function namesWeft(text: string): boolean {
  try {
    const value = objectAt(JSON.parse(text), 'at the top');
    const plugins = [
      value,
      ...optionalList(value, 'plugins', 'plugins').map((one) => objectAt(one, 'plugins')),
    ];
    return plugins.some((plugin) => fieldOf(plugin, 'type') === pluginName);
  } catch {
    return false;
  }
}
