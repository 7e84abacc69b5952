/**
 * `grpc-status-details-bin`: google.rpc.Status with ErrorInfo, RetryInfo and BadRequest, read and written by hand.
 *
 * The registry of npm has no stubs of google.rpc for this runtime, and these four messages have not changed in years.
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

const TYPE_PREFIX = "type.googleapis.com/google.rpc.";

/** One field of a request that is not as it must be; `field` is its path, dot-separated. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

export interface StatusDetails {
  readonly reason: string;
  readonly domain: string;
  /** Whatever is dynamic in the message, and `recovery`. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly FieldViolation[];
  readonly retryAfterSeconds?: number;
}

/** What can be read of it; undefined when it was not written by us. */
export function readStatusDetails(bytes: Uint8Array): StatusDetails | undefined {
  const found: { -readonly [Key in keyof StatusDetails]: StatusDetails[Key] } = {
    reason: "",
    domain: "",
    metadata: {},
    violations: [],
  };
  try {
    for (const any of messagesAt(bytes, 3)) {
      const value = messagesAt(any, 2)[0] ?? new Uint8Array();
      switch (textAt(any, 1)) {
        case `${TYPE_PREFIX}ErrorInfo`:
          found.reason = textAt(value, 1);
          found.domain = textAt(value, 2);
          found.metadata = Object.fromEntries(
            messagesAt(value, 3).map((entry) => [textAt(entry, 1), textAt(entry, 2)]),
          );
          break;
        case `${TYPE_PREFIX}BadRequest`:
          found.violations = messagesAt(value, 1).map((each) => ({
            field: textAt(each, 1),
            description: textAt(each, 2),
          }));
          break;
        case `${TYPE_PREFIX}RetryInfo`:
          found.retryAfterSeconds = secondsOf(messagesAt(value, 1)[0] ?? new Uint8Array());
          break;
      }
    }
  } catch {
    return undefined;
  }
  return found;
}

/** The same as bytes, for a server's trailing metadata. */
export function writeStatusDetails(code: number, message: string, details: StatusDetails): Buffer {
  const info = new BinaryWriter();
  text(text(info, 1, details.reason), 2, details.domain);
  for (const [key, value] of Object.entries(details.metadata)) {
    nested(info, 3, text(text(new BinaryWriter(), 1, key), 2, value));
  }
  const status = new BinaryWriter().tag(1, WireType.Varint).int32(code);
  text(status, 2, message);
  nested(status, 3, packed("ErrorInfo", info));
  if (details.retryAfterSeconds !== undefined) {
    const whole = Math.floor(details.retryAfterSeconds);
    const delay = new BinaryWriter().tag(1, WireType.Varint).int64(whole);
    delay.tag(2, WireType.Varint).int32(Math.round((details.retryAfterSeconds - whole) * 1e9));
    nested(status, 3, packed("RetryInfo", nested(new BinaryWriter(), 1, delay)));
  }
  return Buffer.from(status.finish());
}

function packed(type: string, message: BinaryWriter): BinaryWriter {
  return nested(text(new BinaryWriter(), 1, TYPE_PREFIX + type), 2, message);
}

function text(writer: BinaryWriter, field: number, value: string): BinaryWriter {
  return writer.tag(field, WireType.LengthDelimited).string(value);
}

function nested(writer: BinaryWriter, field: number, message: BinaryWriter): BinaryWriter {
  return writer.tag(field, WireType.LengthDelimited).bytes(message.finish());
}

function messagesAt(bytes: Uint8Array, field: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  eachField(bytes, (number, wireType, reader) => {
    if (number === field && wireType === WireType.LengthDelimited) {
      found.push(reader.bytes());
      return true;
    }
    return false;
  });
  return found;
}

function textAt(bytes: Uint8Array, field: number): string {
  return new TextDecoder().decode(messagesAt(bytes, field).at(-1));
}

function secondsOf(duration: Uint8Array): number {
  let seconds = 0;
  eachField(duration, (number, wireType, reader) => {
    if (wireType !== WireType.Varint) {
      return false;
    }
    const value = Number(reader.int64());
    seconds += number === 1 ? value : number === 2 ? value / 1e9 : 0;
    return true;
  });
  return seconds;
}

/** `read` says whether it consumed the field; the others are passed over. */
function eachField(
  bytes: Uint8Array,
  read: (field: number, wireType: WireType, reader: BinaryReader) => boolean,
): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (!read(field, wireType, reader)) {
      reader.skip(wireType);
    }
  }
}
