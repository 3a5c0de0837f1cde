// SPDX-License-Identifier: Apache-2.0
// Stage: what can be put into a volume's way, and taken out again, while I/O goes on. It changes
// neither the volume's size nor what is read from it. A Junction is where it is put.
//
//   new requests ─► StageChannel ─► the next stage's, or the volume's own channel
//
// Inserted: requests that are below already come back past it. Taken out: nothing new comes to it,
// and its channel stays until the last request that it holds, or that has a frame of its, is gone.
#pragma once

#include <memory>

#include "block/device.h"
#include "core/result.h"
#include "reactor/task.h"

namespace remora::block {

/// Of one reactor, over a channel that it does not own and that may be replaced by another.
class StageChannel : public Channel {
  public:
    explicit StageChannel(Channel& lower) : lower_(&lower) {}

    /// Nothing is submitted any more: lets go what it can, and ends when it holds no request and
    /// none will come back by it. Soon, if those below have none of its requests.
    virtual reactor::Task<> drain() = 0;

    /// Where its requests go.
    [[nodiscard]] Channel& lower() const { return *lower_; }
    /// The same volume without the stage between, from the next request on.
    void set_lower(Channel& lower) { lower_ = &lower; }

  private:
    Channel* lower_;
};

class Stage {
  public:
    /// A channel of the current reactor, to a volume of such blocks. It is destroyed there, drained
    /// or with nothing in flight. Errors: ResourceExhausted.
    virtual core::Result<std::unique_ptr<StageChannel>> open_channel(Channel& lower,
                                                                     std::uint32_t block_size) = 0;

  protected:
    ~Stage() = default;
};

}  // namespace remora::block
