// SPDX-License-Identifier: Apache-2.0
// BusyPoll: the few connections that are in use right now, looked at by receiving.
//
// The ring tells of a connection's data by way of a wake-up in the sender's kernel time, a task of
// ours that the kernel runs when asked, and an entry of the completion queue: a microsecond in all
// that a spinning reactor can save by just trying to receive. It does so for a few connections that
// had data lately; all others, and all before a sleep, are the ring's, and so is everyone's end.
//
// Looking as often as possible also breaks up what could be one large receive, one answer and one
// send. So a connection that just gave much less than it mostly does has a little time to gather.
#pragma once

#include <cstddef>

#include "core/intrusive_list.h"

namespace remora::reactor {

/// A stream that can be looked at. Owned by its stream; on the list of one BusyPoll at most.
class BusyPolled : public core::ListHook<BusyPolled> {
  public:
    /// Has its handler receive. May destroy this.
    virtual void look() = 0;
    /// Leaves the list; the ring watches for input, too.
    virtual void rest() = 0;

  protected:
    ~BusyPolled() = default;

  private:
    friend class BusyPoll;
    unsigned empty_looks_ = 0;
    unsigned pause_ = 0;         // looks left out
    std::ptrdiff_t mostly_ = 0;  // bytes a receive, a sliding mean
};

/// One for a reactor's LinuxIo, used on its thread.
class BusyPoll {
  public:
    [[nodiscard]] bool has_room() const { return count_ < kMost; }
    [[nodiscard]] std::size_t count() const { return count_; }
    void add(BusyPolled& stream) {
        streams_.push_back(stream);
        ++count_;
    }
    void remove(BusyPolled& stream) {
        if (stream.linked()) {
            stream.unlink();
            --count_;
        }
    }
    /// The stream has received so many bytes, or has ended (0 or less).
    void received(BusyPolled& stream, std::ptrdiff_t bytes) {
        stream.empty_looks_ = 0;
        stream.mostly_ += (bytes - stream.mostly_) / 8;
        stream.pause_ = bytes < stream.mostly_ / kMuchLess ? kPause : 0;
        received_ = true;
    }

    /// Looks at each once; those that had nothing for long rest. Returns whether any had.
    bool look() {
        received_ = false;
        streams_.for_each([](BusyPolled& stream) {
            if (stream.pause_ > 0) {
                --stream.pause_;
                return;
            }
            // Counted before the look, which may be the stream's end.
            if (++stream.empty_looks_ > kEmptyLooks) {
                stream.rest();
            } else {
                stream.look();
            }
        });
        return received_;
    }
    /// Before a sleep: the ring watches all.
    void rest() {
        streams_.for_each([](BusyPolled& stream) { stream.rest(); });
    }

  private:
    // An empty look costs some 0.3 us: with so many a turn it costs no more than the ring does.
    static constexpr std::size_t kMost = 4;
    // Some 300 us of spinning: longer than the gap between I/Os of a disk that is in use.
    static constexpr unsigned kEmptyLooks = 1000;

    // Measured at queue depth 32 and 128 (docs/PERFORMANCE.md); turns without a look are short.
    static constexpr std::ptrdiff_t kMuchLess = 3;
    static constexpr unsigned kPause = 6;

    core::List<BusyPolled, BusyPolled> streams_;
    std::size_t count_ = 0;
    bool received_ = false;
};

}  // namespace remora::reactor
