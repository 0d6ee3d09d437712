/** Makes `native/generated/layout.h` from the one layout table of the image. */
import * as layout from '../../src/image/layout.js';

const cType: Readonly<Record<layout.FieldType, string>> = {
  u8: 'uint8_t',
  u16: 'uint16_t',
  u32: 'uint32_t',
  u64: 'uint64_t',
  address: 'uint8_t',
};

function renderStruct(of: layout.Struct): string {
  const lines = [`// ${of.help}`, `struct ${of.name} {`];
  for (const field of of.fields) {
    const array = field.type === 'address' ? '[16]' : '';
    lines.push(
      `  ${cType[field.type]} ${field.name}${array};${field.help === '' ? '' : `  // ${field.help}`}`,
    );
  }
  lines.push('};', `static_assert(sizeof(${of.name}) == ${of.size});`);
  for (const field of of.fields) {
    lines.push(`static_assert(offsetof(${of.name}, ${field.name}) == ${field.offset});`);
  }
  lines.push(`static_assert(std::is_trivially_copyable_v<${of.name}>);`);
  return lines.join('\n');
}

function pascal(name: string): string {
  return name.replace(/(^|_)([a-z])/g, (_, __, letter: string) => letter.toUpperCase());
}

export function layoutHeader(): string {
  const structs = new Map<string, layout.Struct>();
  for (const of of [layout.header, layout.sectionEntry, ...Object.values(layout.sections)]) {
    if (!structs.has(of.name)) structs.set(of.name, of);
  }
  const names = layout.sectionNames;
  const parts = [
    '// Generated from src/image/layout.ts by native/generate/generate.ts; do not edit.',
    '// clang-format off',
    '#pragma once',
    '',
    '#include <array>',
    '#include <cstddef>',
    '#include <cstdint>',
    '#include <type_traits>',
    '',
    'namespace weft::layout {',
    '',
    `inline constexpr std::array<uint8_t, 8> kMagic = {${layout.magic.map((byte) => `0x${byte.toString(16).padStart(2, '0')}`).join(', ')}};`,
    `inline constexpr uint32_t kFormatVersion = ${layout.formatVersion};`,
    `inline constexpr uint32_t kNone = 0x${layout.none.toString(16)};`,
    `inline constexpr uint32_t kCacheLine = ${layout.cacheLine};`,
    `inline constexpr uint32_t kPageAlignment = ${layout.pageAlignment};`,
    `inline constexpr uint32_t kMaxBucket = ${layout.maxBucket};`,
    `inline constexpr uint32_t kMaxNesting = ${layout.maxNesting};`,
    `inline constexpr uint32_t kMaxImageSize = 0x${layout.maxImageSize.toString(16)};`,
    '',
    ...[...structs.values()].flatMap((of) => [renderStruct(of), '']),
    'enum class Section : uint32_t {',
    ...names.map((name, i) => `  ${name} = ${i},`),
    '};',
    `inline constexpr uint32_t kSectionCount = ${names.length};`,
    `inline constexpr std::array<const char*, kSectionCount> kSectionNames = {${names.map((name) => `"${name}"`).join(', ')}};`,
    '',
    '// The element type of each section.',
    'template <Section S>',
    'struct ElementOf;',
    ...names.map(
      (name) =>
        `template <> struct ElementOf<Section::${name}> { using type = ${layout.sections[name].name}; };`,
    ),
    `inline constexpr std::array<uint32_t, kSectionCount> kElementSizes = {${names.map((name) => layout.sections[name].size).join(', ')}};`,
    '',
    ...Object.entries(layout.addressFlags).map(
      ([name, value]) => `inline constexpr uint32_t kFlag${pascal(name)} = ${value};`,
    ),
    '',
    '}  // namespace weft::layout',
    '',
  ];
  return parts.join('\n');
}
