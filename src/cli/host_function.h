// SPDX-License-Identifier: Apache-2.0
// The host's function as people write it, 3 or 3.2, and as messages have it. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/host_function.h"
#include "remora/v1/remora.pb.h"
#include "storage/opicommon.pb.h"

namespace remora::cli {

/// What help calls its value.
inline constexpr std::string_view kFunctionValue = "PF[.VF]";

/// Nothing for what no message can carry, too.
std::optional<core::HostFunction> read_function(std::string_view text);

void set_function(core::HostFunction function, opi_api::storage::v1::PciEndpoint& pcie);
std::string function_text(const opi_api::storage::v1::PciEndpoint& pcie);

void set_function(core::HostFunction function, remora::v1::AttachVolumeRequest& request);
/// A virtual one by the attachment's name, which a daemon that knows none refuses.
void set_function(core::HostFunction function, remora::v1::DetachVolumeRequest& request);
/// Of an attachment or a host disk.
template <typename M>
core::HostFunction function_of(const M& message) {
    return {static_cast<std::uint32_t>(message.host_function()),
            static_cast<std::uint32_t>(message.host_virtual_function())};
}

/// That the disk is where it was asked for: a daemon that knows no virtual functions takes the
/// physical one. Throws Refused.
void check_attached(core::HostFunction wanted, const remora::v1::Attachment& made);

}  // namespace remora::cli
