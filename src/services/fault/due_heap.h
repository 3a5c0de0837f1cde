// SPDX-License-Identifier: Apache-2.0
// DueHeap: requests that wait, by the time at which each goes on; those of one time in the order
// they came. A pairing heap whose links are in a frame of each request, so nothing is allocated
// however many wait. One reactor's; empty before it dies.
#pragma once

#include <cstddef>
#include <cstdint>

#include "block/request.h"
#include "core/units.h"

namespace remora::services::fault {

class DueHeap final : private block::Completer {
  public:
    DueHeap() = default;
    DueHeap(const DueHeap&) = delete;
    DueHeap& operator=(const DueHeap&) = delete;
    ~DueHeap() { CHECK(root_ == nullptr); }

    struct Due {
        block::Request* request;
        block::Status status;  ///< As it was pushed.
    };
    /// `status`: what it is to end with, once it is due.
    void push(block::Request& request, core::Nanos due, block::Status status);
    /// The first that is due. Not empty.
    Due pop();
    /// When the first is due; kNever without any.
    [[nodiscard]] core::Nanos next() const;
    [[nodiscard]] bool empty() const { return root_ == nullptr; }
    [[nodiscard]] std::size_t size() const { return size_; }

  private:
    using Request = block::Request;
    void complete(block::RequestBatch& batch) override;
    static Request* meld(Request* one, Request* two);

    Request* root_ = nullptr;
    std::size_t size_ = 0;
    std::uint64_t pushed_ = 0;
};

}  // namespace remora::services::fault
