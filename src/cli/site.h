// SPDX-License-Identifier: Apache-2.0
// A site's file: resources as their user declares them. Each has a kind and a name as on the
// command line, and under `spec` the fields of its OPI message:
//
//     kind: malloc
//     name: disk0
//     spec: {size: 64M}
//
// Encrypted volumes take `key-file` in place of key: the file that the key is in, as raw bytes.
//
// Documents hold one resource or a list of them. Fields may be in snake_case or camelCase. Where
// the message itself keeps all in a field `spec`, the file's spec is that one. Volumes take `size`
// in place of blocks_count. Settings (cli/settings.h) are declared the same way. What cannot be a
// resource is refused with its place. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/calls.h"
#include "cli/fields.h"
#include "cli/yaml.h"

namespace remora::cli {

struct Declared {
    const Kind* kind = nullptr;
    std::string typed;  ///< "disk0", "lab/tcp".
    std::string name;   ///< As the daemon has it.
    MessagePtr message;
    /// What the file has, be it zero; the rest of the message is for the daemon to choose.
    std::vector<FieldPath> fields;
    /// In bytes, in place of blocks_count; settle_size() sets that.
    std::optional<std::uint64_t> size;
    /// Of a key that is in a file; read_keys() reads it. Empty: there is none.
    std::string key_file;
    Place place;
};

struct Site {
    std::string source;  ///< What errors call the file.
    std::vector<Declared> resources;
};

/// Throws Refused.
Site read_site(std::string_view source, const std::string& text);

/// Turns `size` into blocks_count, in blocks of the declared size, else of `block_size` (that of
/// the volume that exists; 0: of the command line's default). Throws Refused.
void settle_size(std::string_view source, Declared& declared, std::int64_t block_size);

/// The message a file's spec is: the resource or its field `spec`. Null when there is no such
/// field.
const Field* spec_field(const google::protobuf::Descriptor& type);

}  // namespace remora::cli
