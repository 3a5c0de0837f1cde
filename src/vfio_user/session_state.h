// SPDX-License-Identifier: Apache-2.0
// SessionState: all that a session is while nothing is under way in it, so that another process can
// go on with the same client, which notices nothing. Handles stay those of the session that it was
// taken from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "reactor/io.h"
#include "reactor/message_channel.h"
#include "vfio_user/message.h"

namespace remora::vfio_user {

struct MemoryState {
    DmaMapRequest request;
    reactor::Handle handle = reactor::kNoHandle;  ///< None: the device cannot reach it.
};

struct IrqLineState {
    std::uint32_t index = 0;
    std::uint32_t number = 0;
    reactor::Handle event = reactor::kNoHandle;
    bool masked = false;
    bool pending = false;
};

struct IrqState {
    std::vector<IrqLineState> lines;  ///< Those that are not as after a reset.
    reactor::Handle unmask_event = reactor::kNoHandle;
    bool intx_high = false;
};

struct SessionState {
    reactor::ChannelState connection;
    std::vector<MemoryState> memory;
    IrqState irqs;
};

}  // namespace remora::vfio_user
