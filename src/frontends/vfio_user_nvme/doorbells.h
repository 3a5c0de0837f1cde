// SPDX-License-Identifier: Apache-2.0
// Doorbells: where the host writes how far its queues have come. A page that clients map into their
// guest, and two buffers in guest memory if the host asked for them.
//
//   host ──► page (mapped, or by messages) ──┐
//     └────► shadow buffer ──────────────────┴─► load()      event indices ◄── request()
//
// With shadow buffers the host writes the page only when a doorbell passes its event index, so a
// controller that is awake is not told, and one that falls asleep asks to be. All of it is hostile:
// a value is read once and checked by whoever asked.
//
// NVM Express NVMe over PCIe Transport Specification 1.0, doorbell properties; NVM Express Base
// Specification 2.0, Doorbell Buffer Config.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/result.h"
#include "memory/guest_memory.h"
#include "reactor/io.h"
#include "reactor/reactor.h"

namespace remora::frontends::vfio_user_nvme {

class Doorbells final : public reactor::Watched {
  public:
    static constexpr std::size_t kBytes = 4096;

    /// The page is one of shared memory at `offset`, so that it lies there as in its region.
    static core::Result<std::unique_ptr<Doorbells>> create(reactor::Io& io, std::size_t offset);
    Doorbells(const Doorbells&) = delete;
    Doorbells& operator=(const Doorbells&) = delete;
    ~Doorbells() { io_.close(handle_); }

    [[nodiscard]] reactor::Handle handle() const { return handle_; }

    /// Other memory, of zeros: who had this one mapped has nothing to say any more. Errors: those
    /// of Io; then it is as it was.
    core::Result<void> renew();
    /// Goes on with the memory of other doorbells, and takes its handle. Errors: it is not theirs.
    core::Result<void> adopt(reactor::Handle handle);
    /// What the page holds, and putting it there.
    [[nodiscard]] std::vector<std::byte> save() const { return {page().begin(), page().end()}; }
    void restore(std::span<const std::byte> page);
    [[nodiscard]] std::uint64_t shadow_values() const { return values_address_; }
    [[nodiscard]] std::uint64_t shadow_events() const { return events_address_; }

    /// Doorbell number `index`, as spec::sq_doorbell() and spec::cq_doorbell() count.
    [[nodiscard]] std::uint32_t load(std::uint32_t index) const {
        return read(uses_shadow(index) ? shadow_ : page(), index);
    }
    /// A write that came as a message.
    void write(std::uint32_t index, std::uint32_t value) { store(page(), index, value); }
    /// What the page holds, for reads that come as messages (which hosts should not make).
    [[nodiscard]] std::uint32_t peek(std::uint32_t index) const { return read(page(), index); }
    /// Commands have come by them.
    void note_use(core::Nanos now) { last_use_ = now; }
    // reactor::Watched, for a page that the client has mapped. With shadow buffers it may be
    // written what it held before, so they are watched, too.
    void begin_watch() override;
    [[nodiscard]] bool changed() const override;
    [[nodiscard]] core::Nanos next_look(core::Nanos now) const override;

    /// A queue is new: its doorbell is 0.
    void reset(std::uint32_t index);
    /// All are 0, and without shadows.
    void reset_all();

    /// The buffers' addresses, a page each. False when guest memory has none of them there.
    bool set_shadow(const memory::GuestMemory& guest, std::uint64_t values, std::uint64_t events);
    [[nodiscard]] bool has_shadow() const { return values_address_ != 0; }
    /// Guest memory has changed.
    void locate(const memory::GuestMemory& guest);
    /// Asks the host to write the page once doorbell `index` moves on from `value`.
    void request(std::uint32_t index, std::uint32_t value);

  private:
    Doorbells(reactor::Io& io,
              reactor::Handle handle,
              std::size_t offset,
              std::unique_ptr<reactor::Mapping> mapping)
        : io_(io), handle_(handle), offset_(offset) {
        use(std::move(mapping));
    }

    void use(std::unique_ptr<reactor::Mapping> mapping) {
        mapping_ = std::move(mapping);
        page_ = mapping_->bytes().subspan(offset_);
    }
    [[nodiscard]] std::span<std::byte> page() const { return page_; }
    /// The admin queue has none.
    [[nodiscard]] bool uses_shadow(std::uint32_t index) const {
        return index >= 2 && !shadow_.empty();
    }
    static std::uint32_t read(std::span<std::byte> from, std::uint32_t index) {
        return __atomic_load_n(
            reinterpret_cast<const std::uint32_t*>(from.data() + std::size_t{4} * index),
            __ATOMIC_ACQUIRE);
    }
    static void store(std::span<std::byte> to, std::uint32_t index, std::uint32_t value) {
        __atomic_store_n(reinterpret_cast<std::uint32_t*>(to.data() + std::size_t{4} * index),
                         value, __ATOMIC_RELAXED);
    }

    static constexpr std::uint32_t kCount = 2 * 65;  // a tail and a head for each queue

    // What a look takes is together: no cache holds it after a sleep.
    std::span<std::byte> page_;
    std::span<std::byte> shadow_;  // empty: none, or out of reach
    core::Nanos last_use_{};
    std::uint32_t in_use_ = 2;  // those up to here belong to queues, or did since the reset
    std::array<std::uint32_t, kCount> remembered_{};
    reactor::Io& io_;
    reactor::Handle handle_;
    std::size_t offset_;
    std::unique_ptr<reactor::Mapping> mapping_;
    std::uint64_t values_address_ = 0;  // 0: none
    std::uint64_t events_address_ = 0;
    std::span<std::byte> events_;
};

}  // namespace remora::frontends::vfio_user_nvme
