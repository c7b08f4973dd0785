#include "core/plugin/elf_note.h"

#include <elf.h>

#include <cstring>

namespace volery::plugin {
namespace {

constexpr char kNoteName[] = "volery";
constexpr uint32_t kNoteType = 1;

// A header at `offset`, or nothing when it reaches beyond the bytes.
template <class T>
std::optional<T> At(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T out;
  std::memcpy(&out, bytes.data() + offset, sizeof(T));
  return out;
}

Status CheckHeader(std::span<const std::byte> file, const Elf64_Ehdr& header) {
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return InvalidError("not a shared library (no ELF file)");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return InvalidError("not a 64-bit little-endian ELF file");
  }
  if (header.e_type != ET_DYN) return InvalidError("an ELF file, but no shared library");
  if (header.e_phnum > 0 && header.e_phentsize != sizeof(Elf64_Phdr))
    return InvalidError("ELF program headers of unknown size");
  const uint64_t table = uint64_t{header.e_phnum} * sizeof(Elf64_Phdr);
  if (header.e_phoff > file.size() || file.size() - header.e_phoff < table) {
    return InvalidError("ELF program headers reach beyond the end of the file; it is truncated");
  }
  return OkStatus();
}

uint64_t RoundUp(uint64_t value, uint64_t align) {
  return (value + align - 1) / align * align;
}

// Walks one note segment; sizes are 32-bit, so that sums of a few never wrap in 64 bits.
StatusOr<std::optional<std::string>> FindInNotes(std::span<const std::byte> notes, uint64_t align) {
  uint64_t at = 0;
  while (std::optional<Elf64_Nhdr> note = At<Elf64_Nhdr>(notes, at)) {
    const uint64_t name = at + sizeof(Elf64_Nhdr);
    const uint64_t content = RoundUp(name + note->n_namesz, align);
    if (content > notes.size() || notes.size() - content < note->n_descsz) {
      return InvalidError("an ELF note reaches beyond its segment");
    }
    if (note->n_type == kNoteType && note->n_namesz == sizeof(kNoteName) &&
        std::memcmp(notes.data() + name, kNoteName, sizeof(kNoteName)) == 0) {
      return std::optional<std::string>(std::in_place, reinterpret_cast<const char*>(notes.data()) + content,
                                        note->n_descsz);
    }
    at = RoundUp(content + note->n_descsz, align);
  }
  return std::optional<std::string>();
}

}  // namespace

StatusOr<std::optional<std::string>> ReadBuildTag(std::span<const std::byte> file) {
  const std::optional<Elf64_Ehdr> header = At<Elf64_Ehdr>(file, 0);
  if (!header) return InvalidError("not a shared library (", file.size(), " bytes)");
  VOLERY_RETURN_IF_ERROR(CheckHeader(file, *header));
  for (uint64_t i = 0; i < header->e_phnum; ++i) {
    const Elf64_Phdr segment = *At<Elf64_Phdr>(file, header->e_phoff + i * sizeof(Elf64_Phdr));
    if (segment.p_type != PT_NOTE) continue;
    if (segment.p_offset > file.size() || file.size() - segment.p_offset < segment.p_filesz) {
      return InvalidError("an ELF note segment reaches beyond the end of the file; it is truncated");
    }
    VOLERY_ASSIGN_OR_RETURN(
        std::optional<std::string> tag,
        FindInNotes(file.subspan(segment.p_offset, segment.p_filesz), segment.p_align == 8 ? 8 : 4));
    if (tag) return tag;
  }
  return std::optional<std::string>();
}

}  // namespace volery::plugin
