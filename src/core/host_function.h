// SPDX-License-Identifier: Apache-2.0
// HostFunction: which function of the host's card, as OPI's PciEndpoint addresses it.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace remora::core {

/// A physical function (PF), or one of its virtual functions (VF; PCI Express Base 5.0, 9.1).
/// Ordered by PF, the PF before its VFs. A value; any thread.
struct HostFunction {
    std::uint32_t pf = 0;
    std::uint32_t vf = 0;  ///< From 1; 0: the physical function itself.

    HostFunction() = default;
    /// Most are physical, so its number alone says which.
    // NOLINTNEXTLINE(google-explicit-constructor)
    HostFunction(std::uint32_t physical, std::uint32_t virtual_function = 0)
        : pf(physical), vf(virtual_function) {}

    auto operator<=>(const HostFunction&) const = default;

    /// "3", "3.2": as people and names of resources write it.
    [[nodiscard]] std::string text() const;
    /// What text() makes, and nothing else.
    static std::optional<HostFunction> parse(std::string_view text);
};

}  // namespace remora::core
