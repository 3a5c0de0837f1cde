// SPDX-License-Identifier: Apache-2.0
// Handover: what one remorad gives to the one that takes its place in the same process, as bytes.
// Descriptors stay open over that by their numbers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "node/vfio_nvme.h"

namespace remora::control {

struct Handover {
    std::vector<node::FrozenFunction> functions;
};

std::string encode_handover(const Handover& handover);
/// Errors: DataLoss: it is none.
core::Result<Handover> decode_handover(std::string_view bytes);
/// Every descriptor that is in use in it.
std::vector<reactor::Handle> handles_of(const Handover& handover);

}  // namespace remora::control
