// SPDX-License-Identifier: Apache-2.0
// Referrals: other discovery services that the hosts of this one are told of. Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class Referrals {
  public:
    /// NVMe's own limit is none; this is what a target's log names besides its subsystems.
    static constexpr std::size_t kMost = 16;

    explicit Referrals(Context& context) : context_(context) {}

    Task<core::Result<api::DiscoveryReferral>> create(
        const api::CreateDiscoveryReferralRequest& request);
    Task<core::Result<Empty>> remove(const api::DeleteDiscoveryReferralRequest& request);
    Task<core::Result<api::DiscoveryReferral>> get(const api::GetDiscoveryReferralRequest& request);
    Task<core::Result<api::ListDiscoveryReferralsResponse>> list(
        const api::ListDiscoveryReferralsRequest& request);

    /// Tells the data plane what is stored.
    Task<> rebuild();

  private:
    Task<core::Result<void>> publish();

    Context& context_;
};

}  // namespace remora::control
