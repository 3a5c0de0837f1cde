// SPDX-License-Identifier: Apache-2.0
// nvme::ReservationLog: one controller's Reservation Notification log, and which notices it wants.
//
// A queue of pages: each read takes the oldest. When it is full the oldest is lost, which a host
// sees by the count of the next. Lives with its controller, bounded by kMaxPages and kMaxMasks.
//
// NVM Express Base Specification 2.0, Reservation Notification (log 80h), Reservation Notification
// Mask (feature 82h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

#include "nvme/spec/reservation.h"

namespace remora::nvme {

class ReservationLog {
  public:
    static constexpr std::size_t kMaxPages = 64;

    [[nodiscard]] std::uint32_t mask(std::uint32_t nsid) const {
        const auto at = masks_.find(nsid);
        return at == masks_.end() ? 0U : at->second;
    }
    /// `nsid` is of an active namespace, which bounds them.
    void set_mask(std::uint32_t nsid, std::uint32_t mask) {
        if ((mask & spec::kReservationMaskBits) == 0) {
            masks_.erase(nsid);
        } else {
            masks_[nsid] = mask & spec::kReservationMaskBits;
        }
    }
    /// The namespace has gone.
    void forget(std::uint32_t nsid) { masks_.erase(nsid); }

    /// False when this controller does not want it.
    bool add(std::uint32_t nsid, spec::ReservationNotice type) {
        if ((mask(nsid) & (1U << static_cast<unsigned>(type))) != 0) {
            return false;
        }
        count_ += count_ + 1 == 0 ? 2U : 1U;  // 0 says that a page is empty
        Page& page = pages_[(first_ + size_) % kMaxPages];
        page = {count_, nsid, type};
        if (size_ == kMaxPages) {
            first_ = (first_ + 1) % kMaxPages;
        } else {
            ++size_;
        }
        return true;
    }

    [[nodiscard]] bool empty() const { return size_ == 0; }
    /// The oldest page, empty when there is none.
    [[nodiscard]] spec::ReservationNotificationLog front() const {
        spec::ReservationNotificationLog out;
        if (size_ > 0) {
            const Page& page = pages_[first_];
            out.count = page.count;
            out.type = static_cast<std::uint8_t>(page.type);
            out.available = static_cast<std::uint8_t>(size_ - 1);
            out.nsid = page.nsid;
        }
        return out;
    }
    void pop() {
        if (size_ > 0) {
            first_ = (first_ + 1) % kMaxPages;
            --size_;
        }
    }

  private:
    struct Page {
        std::uint64_t count = 0;
        std::uint32_t nsid = 0;
        spec::ReservationNotice type = spec::ReservationNotice::Empty;
    };
    static_assert(kMaxPages <= 256, "the pages behind one are told in a byte");

    std::array<Page, kMaxPages> pages_{};
    std::size_t first_ = 0;
    std::size_t size_ = 0;
    std::uint64_t count_ = 0;
    std::map<std::uint32_t, std::uint32_t> masks_;
};

}  // namespace remora::nvme
