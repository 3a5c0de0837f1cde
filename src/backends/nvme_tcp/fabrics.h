// SPDX-License-Identifier: Apache-2.0
// The fabrics Connect command as a host sends it, and what a refusal of it means.
#pragma once

#include "backends/nvme_tcp/queue_pair.h"
#include "nvme/spec/fabrics.h"

namespace remora::backends::nvme_tcp {

nvme::spec::ConnectData connect_data(const QueuePairOptions& options);
nvme::spec::Command connect_command(const QueuePairOptions& options);

/// The sentence and kind for a Connect that was not successful. NotFound, PermissionDenied and
/// InvalidArgument stay what they are when it is repeated; Unavailable need not.
core::Error connect_refusal(const QueuePairOptions& options, const CommandResult& answer);

/// Whether a failure to connect is of the kind that repeating alone does not mend.
bool is_refusal(const core::Error& error);

/// "status 0x4182" with what is known about it, for sentences.
std::string status_text(std::uint16_t status);

}  // namespace remora::backends::nvme_tcp
