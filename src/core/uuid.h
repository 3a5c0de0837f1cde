// SPDX-License-Identifier: Apache-2.0
// Uuid: a volume's identity (RFC 9562), in the byte order of its text form. NVMe keeps the same
// order in the namespace UUID descriptor (NVMe Base 2.0, Namespace Identification Descriptor).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/prng.h"

namespace remora::core {

struct Uuid {
    std::array<unsigned char, 16> bytes{};

    /// Reads the 36-character form with either case; anything else gives nothing.
    static std::optional<Uuid> parse(std::string_view text);
    /// A version 4 UUID.
    static Uuid random(Prng& prng);

    /// Lower-case 36-character form.
    [[nodiscard]] std::string text() const;
    [[nodiscard]] bool is_nil() const { return *this == Uuid{}; }

    auto operator<=>(const Uuid&) const = default;
};

}  // namespace remora::core
