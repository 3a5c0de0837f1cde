// SPDX-License-Identifier: Apache-2.0
// PciConfig: the configuration space of a PCI Express endpoint: header, power management, MSI-X or
// MSI and PCI Express capabilities, and an empty extended space.
//
//   00h header   40h power management   50h MSI-X or MSI   60h PCI Express   100h nothing
//
// It knows which bits software may write and keeps what it wrote; what the bits mean, its owner
// asks. PCI Local Bus 3.0 §6.1, PCI Express Base 4.0 §7.5, PCI Power Management 1.2 §3.2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace remora::vfio_user {

struct PciIdentity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
    std::uint8_t revision = 0;
    std::uint32_t class_code = 0;  ///< Base class, sub class, programming interface: 24 bits.
};

/// Where the vector table and the pending bits lie, both in BAR 0.
struct MsixLayout {
    std::uint16_t vectors = 0;  ///< 0: no MSI-X.
    std::uint32_t table_offset = 0;
    std::uint32_t pending_offset = 0;
};

struct PciLayout {
    PciIdentity identity;
    std::uint64_t bar0_bytes = 0;  ///< A power of two; 64 bits wide, not prefetchable.
    MsixLayout msix;
    bool msi = false;  ///< One message; not beside MSI-X.
    bool intx = true;
};

class PciConfig {
  public:
    static constexpr std::size_t kBytes = 4096;

    explicit PciConfig(const PciLayout& layout);

    /// Both need [offset, offset + size) inside.
    void read(std::size_t offset, std::span<std::byte> to) const;
    void write(std::size_t offset, std::span<const std::byte> from);
    /// As after power-on.
    void reset();
    /// What software may write is as in `from`, which another one read() as a whole.
    void restore(std::span<const std::byte> from);

    [[nodiscard]] bool bus_master() const;
    [[nodiscard]] bool intx_disabled() const;
    [[nodiscard]] bool msi_enabled() const;
    [[nodiscard]] bool msix_enabled() const;
    [[nodiscard]] bool msix_masked() const;
    /// Whether a function-level reset was asked for since the last call.
    bool take_reset_request();
    /// The status register's interrupt bit.
    void show_interrupt(bool high);

  private:
    template <typename T>
    void put(std::size_t offset, T value, T writable = 0);
    [[nodiscard]] std::uint16_t read16(std::size_t offset) const;

    PciLayout layout_;
    std::array<std::byte, kBytes> bytes_{};
    std::array<std::byte, kBytes> writable_{};
    bool reset_requested_ = false;
};

}  // namespace remora::vfio_user
