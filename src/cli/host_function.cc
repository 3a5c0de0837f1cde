// SPDX-License-Identifier: Apache-2.0
#include "cli/host_function.h"

#include <limits>

#include "cli/failure.h"

namespace remora::cli {

namespace opi = opi_api::storage::v1;

std::optional<core::HostFunction> read_function(std::string_view text) {
    constexpr std::uint32_t kMost = std::numeric_limits<std::int32_t>::max();
    const auto function = core::HostFunction::parse(text);
    return function && function->pf <= kMost && function->vf <= kMost ? function : std::nullopt;
}

void set_function(core::HostFunction function, opi::PciEndpoint& pcie) {
    pcie.mutable_port_id()->set_value(0);
    pcie.mutable_physical_function()->set_value(static_cast<std::int32_t>(function.pf));
    pcie.mutable_virtual_function()->set_value(static_cast<std::int32_t>(function.vf));
}

void set_function(core::HostFunction function, v1::AttachVolumeRequest& request) {
    request.set_host_function(static_cast<std::int32_t>(function.pf));
    request.set_host_virtual_function(static_cast<std::int32_t>(function.vf));
}

void set_function(core::HostFunction function, v1::DetachVolumeRequest& request) {
    if (function.vf == 0) {
        request.set_host_function(static_cast<std::int32_t>(function.pf));
    } else {
        request.set_name("attachments/" + function.text());
    }
}

void check_attached(core::HostFunction wanted, const v1::Attachment& made) {
    if (function_of(made) != wanted) {
        throw Refused(grpc::StatusCode::UNIMPLEMENTED,
                      "this remorad knows no virtual functions, and attached the volume to host "
                      "function " +
                          function_of(made).text() + "; detach it there");
    }
}

std::string function_text(const opi::PciEndpoint& pcie) {
    return core::HostFunction(static_cast<std::uint32_t>(pcie.physical_function().value()),
                              static_cast<std::uint32_t>(pcie.virtual_function().value()))
        .text();
}

}  // namespace remora::cli
