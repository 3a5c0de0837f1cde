// SPDX-License-Identifier: Apache-2.0
// Secret: a key's bytes, wiped when they die; and the wiping of those that others hold.
#pragma once

#include <cstddef>
#include <openssl/crypto.h>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace remora::control {

inline void wipe(std::string& text) {
    OPENSSL_cleanse(text.data(), text.size());
    text.clear();
}

/// Its size never changes, so no copy is left behind by growing. Moved, never copied.
class Secret {
  public:
    explicit Secret(std::size_t size) : bytes_(size) {}
    explicit Secret(std::span<const std::byte> bytes) : bytes_(bytes.begin(), bytes.end()) {}
    Secret(const Secret&) = delete;
    Secret& operator=(const Secret&) = delete;
    Secret(Secret&&) noexcept = default;
    Secret& operator=(Secret&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Secret() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

    [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }
    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

/// What a protobuf field of bytes holds.
inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

/// Keys do not stay in the memory of a request that is given back.
template <typename Request>
void wipe_key(Request& request) {
    if constexpr (requires { request.mutable_encrypted_volume()->mutable_key(); }) {
        if (request.has_encrypted_volume()) {
            wipe(*request.mutable_encrypted_volume()->mutable_key());
        }
    }
}

}  // namespace remora::control
