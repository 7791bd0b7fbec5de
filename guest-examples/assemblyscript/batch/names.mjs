// Gives exports the names of the contract, which cannot be written in AssemblyScript.

const NAMES = {
  receiveBatch: 'wasmpost:messaging/receiver-batch@0.1.0#receive-batch',
  cabi_realloc: 'cabi_realloc',
};

export default class Names {
  afterCompile(module) {
    for (const [name, exported] of Object.entries(NAMES)) {
      module.removeExport(name);
      module.addFunctionExport(`assembly/wasmpost/${name}`, exported);
    }
  }
}
