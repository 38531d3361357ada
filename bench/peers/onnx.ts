/** ONNX models written from a few lines: the part of the format's protobuf schema that single operators need. */
import protobuf from 'protobufjs';

/** TensorProto.DataType. */
export const DTYPE = { float32: 1, uint8: 2, int32: 6, int64: 7, uint4: 21 } as const;
export type Dtype = keyof typeof DTYPE;

const field = (id: number, type: string, repeated = false) => ({ id, type, ...(repeated ? { rule: 'repeated' } : {}) });

/** Names and numbers as in onnx.proto3; what we never write is left out. */
const { Model } = (() => {
  const root = protobuf.Root.fromJSON({
    nested: {
      Model: {
        fields: {
          irVersion: field(1, 'int64'),
          producerName: field(2, 'string'),
          graph: field(7, 'Graph'),
          opsetImport: field(8, 'OperatorSet', true),
        },
      },
      OperatorSet: { fields: { domain: field(1, 'string'), version: field(2, 'int64') } },
      Graph: {
        fields: {
          node: field(1, 'Node', true),
          name: field(2, 'string'),
          initializer: field(5, 'Tensor', true),
          input: field(11, 'Value', true),
          output: field(12, 'Value', true),
        },
      },
      Node: {
        fields: {
          input: field(1, 'string', true),
          output: field(2, 'string', true),
          name: field(3, 'string'),
          opType: field(4, 'string'),
          attribute: field(5, 'Attribute', true),
          domain: field(7, 'string'),
        },
      },
      Attribute: {
        fields: {
          name: field(1, 'string'),
          f: field(2, 'float'),
          i: field(3, 'int64'),
          ints: field(8, 'int64', true),
          type: field(20, 'int32'),
        },
      },
      Tensor: {
        fields: {
          dims: field(1, 'int64', true),
          dataType: field(2, 'int32'),
          name: field(8, 'string'),
          rawData: field(9, 'bytes'),
        },
      },
      Value: { fields: { name: field(1, 'string'), type: field(2, 'Type') } },
      Type: { fields: { tensorType: field(1, 'TensorType') } },
      TensorType: { fields: { elemType: field(1, 'int32'), shape: field(2, 'Shape') } },
      Shape: { fields: { dim: field(1, 'Dimension', true) } },
      Dimension: { fields: { dimValue: field(1, 'int64'), dimParam: field(2, 'string') } },
    },
  });
  return { Model: root.lookupType('Model') };
})();

export interface Tensor {
  type: Dtype;
  dims: readonly number[];
  data: ArrayBufferView;
}

export interface Node {
  op: string;
  /** '' where an optional input is left out. */
  inputs: string[];
  outputs: string[];
  /** A number with a fraction, or `{ f }`, is a float attribute; other numbers are integers. */
  attributes?: Record<string, number | { f: number } | number[]>;
  domain?: string;
}

export interface Graph {
  opset: number;
  nodes: Node[];
  inputs: Record<string, { type: Dtype; dims: readonly number[] }>;
  /** Their shapes are left to the runtime. */
  outputs: Record<string, Dtype>;
  constants?: Record<string, Tensor>;
}

const value = ([name, { type, dims }]: [string, { type: Dtype; dims: readonly number[] }]) => ({
  name,
  type: { tensorType: { elemType: DTYPE[type], shape: { dim: dims.map((dimValue) => ({ dimValue })) } } },
});

function attribute([name, given]: [string, number | { f: number } | number[]]) {
  if (Array.isArray(given)) return { name, ints: given, type: 7 };
  if (typeof given === 'object') return { name, f: given.f, type: 1 };
  return Number.isInteger(given) ? { name, i: given, type: 2 } : { name, f: given, type: 1 };
}

const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength);

export function onnxModel({ opset, nodes, inputs, outputs, constants = {} }: Graph): Uint8Array {
  return Model.encode(
    Model.fromObject({
      irVersion: 10,
      producerName: 'lanewise bench',
      opsetImport: [
        { domain: '', version: opset },
        ...(nodes.some((node) => node.domain) ? [{ domain: 'com.microsoft', version: 1 }] : []),
      ],
      graph: {
        name: 'peer',
        node: nodes.map(({ op, inputs, outputs, attributes = {}, domain }, i) => ({
          input: inputs,
          output: outputs,
          name: `${op}${i}`,
          opType: op,
          attribute: Object.entries(attributes).map(attribute),
          ...(domain ? { domain } : {}),
        })),
        initializer: Object.entries(constants).map(([name, { type, dims, data }]) => ({
          name,
          dims,
          dataType: DTYPE[type],
          rawData: bytes(data),
        })),
        input: Object.entries(inputs).map(value),
        output: Object.entries(outputs).map(([name, type]) => ({
          name,
          type: { tensorType: { elemType: DTYPE[type] } },
        })),
      },
    }),
  ).finish();
}
