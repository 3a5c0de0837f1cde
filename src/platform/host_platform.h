// SPDX-License-Identifier: Apache-2.0
// HostPlatform: where a device is plugged into a host. QEMU over QMP today; vendor hardware would
// be another implementation.
//
// The host's physical functions are numbered 0..63, and the virtual functions of each from 1 on;
// which PCI place carries which is the platform's configuration. Every call is a coroutine on the
// control reactor with a deadline inside, and is idempotent: plugging what is plugged and
// unplugging what is gone succeed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/host_function.h"
#include "core/result.h"
#include "reactor/task.h"

namespace remora::platform {

/// Physical functions a host can have at most (what the API numbers).
constexpr std::uint32_t kMaxFunctions = 64;
/// Virtual functions of all of them together.
constexpr std::uint32_t kMaxVirtualFunctions = 64;

/// How many functions there are places for.
struct FunctionCounts {
    std::uint32_t physical = 0;
    std::map<std::uint32_t, std::uint32_t> virtual_of = {};  ///< By PF, of those that have some.

    [[nodiscard]] std::uint32_t virtual_functions(std::uint32_t pf) const {
        const auto found = virtual_of.find(pf);
        return found == virtual_of.end() ? 0 : found->second;
    }
    /// Whatever a host may have: for what is stored, whose host may have had other places.
    static FunctionCounts most() {
        FunctionCounts all{kMaxFunctions};
        for (std::uint32_t pf = 0; pf < kMaxFunctions; ++pf) {
            all.virtual_of[pf] = kMaxVirtualFunctions;
        }
        return all;
    }
    [[nodiscard]] std::uint32_t all_virtual() const {
        std::uint32_t sum = 0;
        for (const auto& [pf, own] : virtual_of) {
            sum += own;
        }
        return sum;
    }
};

enum class DeviceKind : std::uint8_t {
    VirtioBlk,  ///< Behind a vhost-user socket.
    Nvme,       ///< An NVMe controller, behind a vfio-user socket.
};

struct PlugRequest {
    core::HostFunction function;
    std::string socket_path;   ///< The device is behind it.
    std::uint32_t queues = 1;  ///< Of a virtio-blk device; an NVMe controller tells itself.
    DeviceKind kind = DeviceKind::VirtioBlk;

    bool operator==(const PlugRequest&) const = default;
};

/// Stands for a socket where a host keeps no path: short enough for names. Two sockets of one
/// function are told apart by it.
std::string socket_tag(std::string_view socket_path);

/// A device of ours that the host has now.
struct PluggedDevice {
    core::HostFunction function;
    std::string socket_path;  ///< Empty where the host does not tell; then the tag is there.
    std::string pci_address;  ///< As the host sees it, "0000:02:1f.0"; empty when not known yet.
    std::string tag = {};     ///< socket_tag()

    bool operator==(const PluggedDevice&) const = default;
    [[nodiscard]] bool is_behind(const std::string& path) const {
        return tag.empty() ? socket_path == path : tag == socket_tag(path);
    }
};

class HostPlatform {
  public:
    virtual ~HostPlatform() = default;

    /// "qemu", "none": for status and logs.
    [[nodiscard]] virtual std::string_view kind() const = 0;
    /// Whether there is a host to plug into. Without one sockets are served and nothing more.
    [[nodiscard]] virtual bool can_plug() const = 0;
    /// Which functions have a place: PFs 0..physical-1, and of each VFs 1 to its count.
    [[nodiscard]] virtual FunctionCounts function_counts() const = 0;
    /// What is wrong with the way to the host now; empty when nothing is known to be.
    [[nodiscard]] virtual std::string trouble() const = 0;
    /// Changes each time what is plugged must be looked at anew: the way to the host was lost, or a
    /// device went that was not asked to go.
    [[nodiscard]] virtual std::uint64_t generation() const = 0;

    /// Returns the PCI address (empty when the host has not assigned one yet). Someone listens on
    /// the socket meanwhile. Errors: Unavailable, FailedPrecondition with the host's reason,
    /// ResourceExhausted for a function without a place: nothing is left behind. DeadlineExceeded:
    /// it is not known whether the host has the device, so its socket must go on being served
    /// until unplug() says that it is gone.
    virtual reactor::Task<core::Result<std::string>> plug(PlugRequest request) = 0;
    /// Returns when the host has let go of the device. Errors: DeadlineExceeded when it does not;
    /// NotFound: there is no host, as far as can be seen, so a device without a client is gone.
    virtual reactor::Task<core::Result<void>> unplug(core::HostFunction function) = 0;
    virtual reactor::Task<core::Result<std::vector<PluggedDevice>>> list() = 0;
    /// Ends the way to the host; devices stay plugged. Once, before destruction.
    virtual reactor::Task<> stop() = 0;
};

}  // namespace remora::platform
