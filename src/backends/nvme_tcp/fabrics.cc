// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/fabrics.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using nvme::spec::StatusCode;

nvme::spec::ConnectData connect_data(const QueuePairOptions& options) {
    nvme::spec::ConnectData data;
    std::memcpy(data.host_id, options.hostid.data(), sizeof(data.host_id));
    data.cntlid = options.cntlid;
    nvme::spec::set_field_text(data.subnqn, options.subnqn, '\0');
    nvme::spec::set_field_text(data.hostnqn, options.hostnqn, '\0');
    return data;
}

nvme::spec::Command connect_command(const QueuePairOptions& options) {
    nvme::spec::ConnectCommand connect;
    connect.qid = options.queue_id;
    connect.sqsize = static_cast<std::uint16_t>(options.queue_size - 1);
    connect.attributes = nvme::spec::kConnectDisableFlowControl;
    connect.keep_alive_ms = options.keep_alive_ms;
    return std::bit_cast<nvme::spec::Command>(connect);
}

std::string status_text(std::uint16_t status) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text = "NVMe status 0x";
    for (int shift = 12; shift >= 0; shift -= 4) {
        text.push_back(kDigits[(status >> static_cast<unsigned>(shift)) & 0xfU]);
    }
    return text;
}

namespace {

std::string refused(const QueuePairOptions& options, const std::string& why) {
    return options.endpoint.text() + " refuses the connection: " + why;
}

/// Connect Invalid Parameters: DW0 says where the parameter lies (NVMe Base 2.0, Connect Response).
core::Error invalid_parameter(const QueuePairOptions& options, const CommandResult& answer) {
    using nvme::spec::connect_invalid_parameter;
    using nvme::spec::ConnectData;
    const std::uint32_t where = answer.dw0 & 0x1ffffU;
    if (where == connect_invalid_parameter(offsetof(ConnectData, subnqn), true)) {
        return {ErrorKind::NotFound, refused(options, "it has no subsystem " + options.subnqn)};
    }
    if (where == connect_invalid_parameter(offsetof(ConnectData, hostnqn), true)) {
        return {ErrorKind::PermissionDenied,
                refused(options, "it does not accept the host NQN " + options.hostnqn)};
    }
    if (where == connect_invalid_parameter(offsetof(ConnectData, cntlid), true)) {
        return {ErrorKind::Unavailable, refused(options, "it does not know the controller")};
    }
    return {ErrorKind::InvalidArgument,
            refused(options, "it does not accept a parameter of Connect (at " +
                                 std::to_string(where & 0xffffU) + ")")};
}

}  // namespace

core::Error connect_refusal(const QueuePairOptions& options, const CommandResult& answer) {
    const StatusCode code = nvme::spec::status_code(answer.status);
    if (code == StatusCode::ConnectInvalidParameters) {
        return invalid_parameter(options, answer);
    }
    if (code == StatusCode::ConnectInvalidHost || code == StatusCode::AccessDenied) {
        return {ErrorKind::PermissionDenied,
                refused(options, "host " + options.hostnqn + " may not use " + options.subnqn)};
    }
    if (code == StatusCode::AuthenticationRequired) {
        return {ErrorKind::PermissionDenied, refused(options, "it asks for authentication")};
    }
    if (code == StatusCode::ConnectControllerBusy) {
        return {ErrorKind::Unavailable, refused(options, "it is busy")};
    }
    if (code == StatusCode::ConnectIncompatibleFormat) {
        return {ErrorKind::Unimplemented, refused(options, "it does not know our Connect format")};
    }
    const ErrorKind kind = (answer.status & nvme::spec::kDoNotRetry) != 0
                               ? ErrorKind::FailedPrecondition
                               : ErrorKind::Unavailable;
    return {kind, refused(options, status_text(answer.status))};
}

bool is_refusal(const core::Error& error) {
    return error.kind == ErrorKind::NotFound || error.kind == ErrorKind::PermissionDenied ||
           error.kind == ErrorKind::InvalidArgument || error.kind == ErrorKind::Unimplemented ||
           error.kind == ErrorKind::FailedPrecondition;
}

}  // namespace remora::backends::nvme_tcp
