// SPDX-License-Identifier: Apache-2.0
// FileChannel: block requests to file operations, on one reactor.
//
//   request ─► slot ─► FileOp ─► (FUA: flush) ─► complete
//                  └─► memory not aligned for direct I/O: through one bounce buffer, in parts
//
// Slots are a fixed pool; what finds none waits in order.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "block/deferred.h"
#include "block/device.h"
#include "reactor/io.h"

namespace remora::backends::file {

class FileChannel final : public block::Channel, private reactor::FileHandler {
  public:
    static constexpr std::size_t kSlots = 256;

    /// `geometry` outlives it, and may grow.
    FileChannel(std::unique_ptr<reactor::File> file, const block::Geometry& geometry);
    FileChannel(const FileChannel&) = delete;
    FileChannel& operator=(const FileChannel&) = delete;
    ~FileChannel() override;

    void submit(block::RequestBatch& batch) override;

  private:
    static constexpr std::size_t kBounceBytes = std::size_t{128} * 1024;
    static constexpr std::size_t kBounceAlignment = 4096;

    struct Slot : core::QueueHook<Slot> {
        struct Op : reactor::FileOp {
            Slot* slot = nullptr;
        };
        Op op;
        block::Request* request = nullptr;
        std::uint64_t bounced = 0;  // bytes moved through the bounce buffer so far
        bool bouncing = false;
        core::Segment part{};
    };

    void start(Slot& slot);
    void start_bounce_part(Slot& slot);
    void finish(Slot& slot, block::Status status);
    void run_waiting();
    [[nodiscard]] bool aligned(const block::Request& request) const;
    void on_file_done(reactor::FileOp& op) override;
    bool continue_bounce(Slot& slot);

    std::unique_ptr<reactor::File> file_;
    const block::Geometry& geometry_;  // of this reactor; it may grow
    block::DeferredCompletions done_;
    std::vector<Slot> slots_;
    core::Queue<Slot> free_;
    block::RequestBatch waiting_;
    core::Queue<Slot> waiting_for_bounce_;
    bool bounce_busy_ = false;
    std::unique_ptr<std::byte[], void (*)(std::byte*)> bounce_;
};

}  // namespace remora::backends::file
