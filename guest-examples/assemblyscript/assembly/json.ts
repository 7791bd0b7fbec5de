// A strict reader of JSON over the bytes of a body. It checks the whole text, and remembers of the object at its top
// where the value of each name lies: most of a webhook is never looked at.

const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;

/** How deep values may lie within one another; each level takes some of the stack. */
const DEPTH_MAX = 128;

export class Json {
  /** Whether the whole text is an object. */
  isObject: bool = false;
  private at: i32 = 0;
  private fault: string | null = null;

  constructor(private readonly bytes: Uint8Array) {}

  /** Reads the whole text. Says what is wrong with it, or null. */
  parse(): string | null {
    this.space();
    this.isObject = this.peek() == 0x7b;
    this.value(0);
    this.space();
    if (this.fault === null && this.at < this.bytes.length) {
      this.fail('something follows the value');
    }
    return this.fault;
  }

  /** Whether a member of the object is `true`. */
  isTrue(name: string): bool {
    const at = this.member(0, name);
    return at >= 0 && this.bytes[at] == 0x74;
  }

  /** A member that is a string, or one of an object that is a member; null if there is none. */
  text(name: string, inner: string | null = null): string | null {
    let at = this.member(0, name);
    if (at >= 0 && inner !== null) {
      at = this.member(at, inner);
    }
    return at >= 0 && this.bytes[at] == QUOTE ? this.stringAt(at) : null;
  }

  /** Where the value of a member begins, or -1. The text was found to be right before; of several, the last counts. */
  private member(object: i32, name: string): i32 {
    let found = -1;
    this.at = object;
    this.space();
    if (!this.isObject || this.peek() != 0x7b) {
      return found;
    }
    this.at++;
    this.space();
    while (this.peek() == QUOTE) {
      const key = this.at;
      this.string();
      const isNamed = this.stringAt(key) == name;
      this.space();
      this.at++;
      this.space();
      if (isNamed) {
        found = this.at;
      }
      this.value(0);
      this.space();
      this.at++;
      this.space();
    }
    return found;
  }

  private value(depth: i32): void {
    this.space();
    const first = this.peek();
    if (depth > DEPTH_MAX) {
      this.fail('it is nested too deep');
    } else if (first == 0x7b) {
      this.many(depth, 0x7d);
    } else if (first == 0x5b) {
      this.many(depth, 0x5d);
    } else if (first == QUOTE) {
      this.string();
    } else if (first == 0x2d || isDigit(first)) {
      this.number();
    } else if (first == 0x74) {
      this.word('true');
    } else if (first == 0x66) {
      this.word('false');
    } else if (first == 0x6e) {
      this.word('null');
    } else {
      this.fail('a value was expected');
    }
  }

  /** An object or an array, as its end tells. */
  private many(depth: i32, end: u8): void {
    this.at++;
    this.space();
    if (this.take(end)) {
      return;
    }
    while (this.fault === null) {
      if (end == 0x7d) {
        this.space();
        this.string();
        this.space();
        this.expect(0x3a, "':' was expected");
      }
      this.value(depth + 1);
      this.space();
      if (this.take(end)) {
        return;
      }
      this.expect(0x2c, "',' was expected");
    }
  }

  private string(): void {
    this.expect(QUOTE, 'a string was expected');
    while (this.fault === null) {
      this.plain();
      const byte = this.peek();
      if (this.at >= this.bytes.length || byte < 0x20) {
        this.fail('a string has no end');
      } else if (byte == BACKSLASH) {
        this.escape();
      } else if (byte >= 0x80) {
        this.beyondAscii();
      } else {
        this.at++;
        return;
      }
    }
  }

  /** Most of a string: letters of ASCII that mean themselves. */
  private plain(): void {
    let at = this.at;
    for (const end = this.bytes.length; at < end; at++) {
      const byte = unchecked(this.bytes[at]);
      if (byte == QUOTE || byte == BACKSLASH || byte < 0x20 || byte >= 0x80) {
        break;
      }
    }
    this.at = at;
  }

  private escape(): void {
    this.at++;
    const kind = this.peek();
    this.at++;
    if (kind != 0x75) {
      if (!'"\\/bfnrt'.includes(String.fromCharCode(kind))) {
        this.fail('a string has an unknown escape');
      }
      return;
    }
    for (let digit = 0; digit < 4; digit++) {
      if (hex(this.peek()) < 0) {
        this.fail('a string has an unknown escape');
        return;
      }
      this.at++;
    }
  }

  /** A letter of several bytes in UTF-8, which is neither longer than it must be nor half of a surrogate pair. */
  private beyondAscii(): void {
    const first = <u32>this.peek();
    const more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    let code = first & (0x3f >> more);
    this.at++;
    for (let left = more; left > 0; left--) {
      const next = <u32>this.peek();
      if ((next & 0xc0) != 0x80) {
        code = 0;
        break;
      }
      code = (code << 6) | (next & 0x3f);
      this.at++;
    }
    const least: u32 = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
    if (first < 0xc2 || first > 0xf4 || code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      this.fail('it is not UTF-8');
    }
  }

  private number(): void {
    this.take(0x2d);
    if (!this.take(0x30)) {
      this.digits();
    }
    if (this.take(0x2e)) {
      this.digits();
    }
    if (this.take(0x65) || this.take(0x45)) {
      if (!this.take(0x2b)) {
        this.take(0x2d);
      }
      this.digits();
    }
  }

  private digits(): void {
    if (!isDigit(this.peek())) {
      this.fail('a digit was expected');
    }
    while (isDigit(this.peek())) {
      this.at++;
    }
  }

  private word(word: string): void {
    for (let letter = 0; letter < word.length; letter++) {
      this.expect(<u8>word.charCodeAt(letter), 'a value was expected');
    }
  }

  private space(): void {
    while (this.at < this.bytes.length) {
      const byte = this.peek();
      if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) {
        return;
      }
      this.at++;
    }
  }

  /** The next byte, or 0 at the end. */
  private peek(): u8 {
    return this.at < this.bytes.length ? this.bytes[this.at] : 0;
  }

  private take(byte: u8): bool {
    const isNext = this.peek() == byte;
    if (isNext) {
      this.at++;
    }
    return isNext;
  }

  private expect(byte: u8, otherwise: string): void {
    if (!this.take(byte)) {
      this.fail(otherwise);
    }
  }

  /** The first fault counts. Nothing is left to read after it, which ends every loop. */
  private fail(what: string): void {
    if (this.fault === null) {
      this.fault = `${what} at byte ${this.at}`;
    }
    this.at = this.bytes.length;
  }

  /** The string whose quote is at a place, without its escapes. */
  private stringAt(quote: i32): string {
    let text = '';
    let at = quote + 1;
    let plain = at;
    while (this.bytes[at] != QUOTE) {
      if (this.bytes[at] != BACKSLASH) {
        at++;
        continue;
      }
      text += this.slice(plain, at);
      const kind = this.bytes[at + 1];
      if (kind == 0x75) {
        let unit = 0;
        for (let digit = at + 2; digit < at + 6; digit++) {
          unit = (unit << 4) | hex(this.bytes[digit]);
        }
        text += String.fromCharCode(unit);
      } else {
        text += unescaped(kind);
      }
      at += kind == 0x75 ? 6 : 2;
      plain = at;
    }
    return text + this.slice(plain, at);
  }

  private slice(from: i32, to: i32): string {
    return String.UTF8.decodeUnsafe(this.bytes.dataStart + <usize>from, <usize>(to - from));
  }
}

function isDigit(byte: u8): bool {
  return byte >= 0x30 && byte <= 0x39;
}

function hex(byte: u8): i32 {
  if (isDigit(byte)) {
    return byte - 0x30;
  }
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? <i32>letter - 0x57 : -1;
}

function unescaped(kind: u8): string {
  switch (kind) {
    case 0x62: return '\b';
    case 0x66: return '\f';
    case 0x6e: return '\n';
    case 0x72: return '\r';
    case 0x74: return '\t';
    default: return String.fromCharCode(kind);
  }
}
