// SPDX-License-Identifier: Apache-2.0
#include "cli/key_file.h"

#include <filesystem>
#include <fstream>
#include <iostream>

#include "storage/middleend_encryption.pb.h"

namespace remora::cli {

namespace opi = opi_api::storage::v1;

namespace {

constexpr std::size_t kMostKeyBytes = 4096;

std::string read_some(std::istream& in) {
    std::string bytes(kMostKeyBytes, '\0');
    in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(static_cast<std::size_t>(in.gcount()));
    return bytes;
}

/// 0 for a cipher that the daemon will refuse in its own words.
std::size_t key_bytes(opi::EncryptionType cipher) {
    if (cipher == opi::ENCRYPTION_TYPE_AES_XTS_128) {
        return 32;
    }
    return cipher == opi::ENCRYPTION_TYPE_AES_XTS_256 ? 64 : 0;
}

}  // namespace

std::string read_key_file(const std::string& what,
                          const std::string& path,
                          opi::EncryptionType cipher) {
    std::string key;
    if (path == "-") {
        key = read_some(std::cin);
    } else {
        std::ifstream in(path, std::ios::binary);
        if (!in) {
            refuse_argument(what + " " + path + " cannot be read");
        }
        key = read_some(in);
        if (in.bad()) {
            refuse_argument(what + " " + path + " cannot be read");
        }
    }
    const std::size_t wanted = key_bytes(cipher);
    if (wanted != 0 && key.size() != wanted) {
        const bool line = key.size() == wanted + 1 && key.back() == '\n';
        refuse_argument(what + " " + path + " has " + std::to_string(key.size()) + " bytes, not " +
                        std::to_string(wanted) +
                        (line ? ": it ends with a line break, which is no part of the key"
                              : ": it holds the key itself, as `head -c " + std::to_string(wanted) +
                                    " /dev/urandom` makes one"));
    }
    return key;
}

void read_keys(Site& site, const std::string& site_file, const Holdings& holdings, bool all) {
    for (Declared& declared : site.resources) {
        auto* volume = dynamic_cast<opi::EncryptedVolume*>(declared.message.get());
        const bool exists = holdings.find(*declared.kind, declared.name) != nullptr;
        if (volume == nullptr || declared.key_file.empty() || (exists && !all)) {
            continue;
        }
        const std::filesystem::path folder =
            site_file == "-" ? "" : std::filesystem::path(site_file).parent_path();
        const std::string what =
            place_text(site.source, declared.place) + ": the key-file of " + declared.typed;
        volume->set_key(
            read_key_file(what, (folder / declared.key_file).string(), volume->cipher()));
    }
}

}  // namespace remora::cli
