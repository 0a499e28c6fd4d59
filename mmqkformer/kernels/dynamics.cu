// Integrate-and-fire over STEPS steps of one neuron: the arithmetic of dynamics.py and
// surrogate.py, operation by operation and in their order.

// By a power of two, INPUT_DECAYS multiplies with the reciprocal, which is as exact and faster:
// INPUT_HALVES
enum Leak { NO_LEAK, INPUT_DECAYS, INPUT_HALVES, INPUT_STAYS, LEARNT };
enum Surrogate { SIGMOID, ATAN, RECTANGULAR, TRIANGULAR };

struct Neuron {
    Leak leak;
    Wide tau, rate, threshold, reset, rest;
    bool hard, strict, detach;
    Surrogate surrogate;
    Wide alpha, scale;
};

// reset is 0 where the reset is not hard; rate points to the learnt 1 / tau, which is otherwise
// inverse; scale is what the surrogate multiplies u with, or compares it with
#define NEURON \
    Index leak, double tau, double inverse, const Wide *rate, double threshold, Index hard, \
    double reset, Index strict, Index detach, Index surrogate, double alpha, double scale

// Compiled for these, where they are given: a kernel has no other way to go
#ifndef NEURON_LEAK
#define NEURON_LEAK leak
#define NEURON_HARD hard
#define NEURON_STRICT strict
#define NEURON_DETACH detach
#define NEURON_SURROGATE surrogate
#endif

#define DESCRIBE_NEURON \
    { (Leak)NEURON_LEAK, (Wide)tau, NEURON_LEAK == LEARNT ? *rate : (Wide)inverse, \
      (Wide)threshold, (Wide)reset, (Wide)reset, NEURON_HARD != 0, NEURON_STRICT != 0, \
      NEURON_DETACH != 0, (Surrogate)NEURON_SURROGATE, (Wide)alpha, (Wide)scale }

DEVICE Wide charge(const Neuron &n, Wide x, Wide v) {
    switch (n.leak) {
        case LEARNT:
        case INPUT_HALVES: return v + (x - (v - n.rest)) * n.rate;
        case INPUT_DECAYS: return v + (x - (v - n.rest)) / n.tau;
        case INPUT_STAYS: return v - (v - n.rest) / n.tau + x;
        default: return v + x;
    }
}

DEVICE Wide fires(const Neuron &n, Wide h) {
    return (n.strict ? h > n.threshold : h >= n.threshold) ? Wide(1) : Wide(0);
}

DEVICE Wide after_spike(const Neuron &n, Wide h, Wide spike) {
    if (!n.hard) return h - spike * n.threshold;
    return spike * n.reset + (Wide(1) - spike) * h;
}

// 1 / (1 + exp(-x)). On a card, what is then rounded to half precision is computed to some units in
// the last place of a float.
DEVICE Wide logistic(Wide x) {
    const Wide one = 1;
#ifdef __CUDACC__
    if (sizeof(Storage) == 2) return __fdividef(1.0f, 1.0f + __expf(-x));
#endif
    return one / (one + exp(-x));
}

// dS/du at u = H - V_th
DEVICE Wide slope_at(const Neuron &n, Wide u) {
    const Wide one = 1, alpha = n.alpha;
    Wide s;
    switch (n.surrogate) {
        case SIGMOID:
            s = logistic(alpha * u);
            return alpha * s * (one - s);
        case ATAN:
            s = n.scale * u;
            return one / (one + s * s) * (alpha / Wide(2));
        case RECTANGULAR:
            return fabs(u) < n.scale ? alpha : Wide(0);
        default:
            s = one - alpha * fabs(u);
            return alpha * (s < 0 ? Wide(0) : s);
    }
}

// The charges H of currents x.
DEVICE void integrate(const Neuron &n, const Wide *x, Wide *h) {
    Wide v = n.rest;
    FOR_STEPS(t) {
        h[t] = charge(n, x[t], v);
        v = after_spike(n, h[t], fires(n, h[t]));
    }
}

// From gradients of the spikes, in grad, to those of the currents, in their place. Returns the
// neuron's share of the gradient of the learnt rate.
DEVICE Wide differentiate(const Neuron &n, const Wide *x, const Wide *h, Wide *grad) {
    Wide grad_v = 0, grad_rate = 0;
    FOR_STEPS_BACKWARD(t) {
        Wide spike = fires(n, h[t]), slope = slope_at(n, h[t] - n.threshold);
        Wide grad_h = grad[t] * slope;
        grad_h += n.hard ? grad_v * (Wide(1) - spike) : grad_v;
        if (!n.detach) grad_h += grad_v * (n.hard ? n.reset - h[t] : -n.threshold) * slope;
        Wide decayed = n.leak == NO_LEAK ? grad_h : grad_h * n.rate;
        grad[t] = n.leak == INPUT_STAYS ? grad_h : decayed;
        grad_v = n.leak == NO_LEAK ? grad_h : grad_h - decayed;
        if (n.leak == LEARNT) {
            Wide before = n.rest;
            if (t > 0) before = after_spike(n, h[t - 1], fires(n, h[t - 1]));
            grad_rate += grad_h * (x[t] - (before - n.rest));
        }
    }
    return grad_rate;
}

// The same for neighbours, from their currents: gradients in memory's type, in their place. Returns
// the sum of their shares.
DEVICE Wide differentiate(const Neuron &n, const Pack<Storage> *currents, Pack<Storage> *grads) {
    Wide grad_rate = 0;
    FOR_LANES(l) {
        Wide current[STEPS], h[STEPS], grad[STEPS];
        FOR_STEPS(t) {
            current[t] = widen(currents[t].at[l]);
            grad[t] = widen(grads[t].at[l]);
        }
        integrate(n, current, h);
        grad_rate += differentiate(n, current, h, grad);
        FOR_STEPS(t) store(&grads[t].at[l], grad[t]);
    }
    return grad_rate;
}
