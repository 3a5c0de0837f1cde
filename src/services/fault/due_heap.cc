// SPDX-License-Identifier: Apache-2.0
#include "services/fault/due_heap.h"

#include <utility>

namespace remora::services::fault {

namespace {

using block::Request;

// What a frame's scratch is while its request waits. The order is that in which it was pushed, in
// all bits but the lowest eight, which are the status.
enum Word : std::uint8_t { DueAt, Order, Child, Sibling };
constexpr unsigned kStatusBits = 8;

std::uint64_t& word(Request& request, Word which) {
    return request.top_frame().scratch[which];
}

Request* link(Request& request, Word which) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a frame's scratch is of integers
    return reinterpret_cast<Request*>(word(request, which));
}

void set_link(Request& request, Word which, Request* to) {
    word(request, which) = reinterpret_cast<std::uintptr_t>(to);
}

bool goes_before(Request& one, Request& two) {
    return std::pair(word(one, DueAt), word(one, Order)) <
           std::pair(word(two, DueAt), word(two, Order));
}

}  // namespace

void DueHeap::push(Request& request, core::Nanos due, block::Status status) {
    block::Frame& frame = request.push_frame(*this);
    frame.scratch = {};
    frame.scratch[DueAt] = static_cast<std::uint64_t>(due.count());
    frame.scratch[Order] = pushed_++ << kStatusBits | static_cast<std::uint64_t>(status);
    root_ = root_ == nullptr ? &request : meld(root_, &request);
    ++size_;
}

DueHeap::Due DueHeap::pop() {
    CHECK(root_ != nullptr);
    Request& first = *root_;
    // The children by twos, then the pairs from the last on: what makes it cheap in the long run.
    Request* pairs = nullptr;
    for (Request* at = link(first, Child); at != nullptr;) {
        Request* const partner = link(*at, Sibling);
        Request* const rest = partner == nullptr ? nullptr : link(*partner, Sibling);
        Request* const pair = partner == nullptr ? at : meld(at, partner);
        set_link(*pair, Sibling, pairs);
        pairs = pair;
        at = rest;
    }
    root_ = nullptr;
    while (pairs != nullptr) {
        Request* const rest = link(*pairs, Sibling);
        root_ = root_ == nullptr ? pairs : meld(root_, pairs);
        pairs = rest;
    }
    --size_;
    const auto status = static_cast<block::Status>(word(first, Order) & ((1U << kStatusBits) - 1U));
    first.pop_frame();
    return {&first, status};
}

core::Nanos DueHeap::next() const {
    return root_ == nullptr ? core::kNever
                            : core::Nanos(static_cast<std::int64_t>(word(*root_, DueAt)));
}

/// Two heaps as one: the later one becomes the first child of the other.
Request* DueHeap::meld(Request* one, Request* two) {
    if (goes_before(*two, *one)) {
        std::swap(one, two);
    }
    set_link(*two, Sibling, link(*one, Child));
    set_link(*one, Child, two);
    return one;
}

void DueHeap::complete(block::RequestBatch& /*batch*/) {
    CHECK(false);  // what waits is below nobody, who could complete it
}

}  // namespace remora::services::fault
